"""Hybrid semantic fusion (HSF): an image feature from the most abnormal patches, by k-means."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.errors import NotFinite
from adbench.methods.adaclip.clusters import batched_members
from adbench.methods.variants import Variant


def fuse(
    tokens: Tensor,
    selection: Tensor,
    n_clusters: int,
    variant: Variant,
    streams: Sequence[np.random.RandomState] | None,
) -> Tensor:
    """HSF feature of each image, unit length: (B, C).

    tokens     (B, layers, N, C) projected patch tokens, normalised
    selection  (B, N) probability that a patch is abnormal
    streams    B streams that each image's k-means start is drawn from, in order, by scikit-learn; one may stand for
               several images. None: k-means without random numbers (`clusters`)

    official: the 5 * n_clusters most abnormal patches, clustered on the layers' tokens side by side; the mean of the
    cluster means. paper: all patches, clustered on the layers' mean; the mean of the most abnormal cluster.
    Gradient flows through the tokens, not through selection and clustering.
    """
    if variant == "official":
        # k-means++ draws row numbers, so the order of the rows (most abnormal first) is part of the result.
        chosen = selection.topk(min(selection.shape[1], 5 * n_clusters), dim=1).indices
        rows = chosen[:, None, :, None].expand(-1, tokens.shape[1], -1, tokens.shape[3])
        tokens = tokens.gather(2, rows)  # (B, layers, n, C)
        points = tokens.transpose(1, 2).flatten(2)  # (B, n, layers * C)
    averaged = tokens.mean(dim=1)  # (B, n, C)
    members = _members(points if variant == "official" else averaged, n_clusters, streams)
    # Fewer distinct points than clusters leave some empty: these have no mean.
    sizes = members.sum(dim=2, keepdim=True)  # (B, k, 1)
    share = members / sizes.clamp(min=1)
    if variant == "official":
        means = (share @ averaged).sum(dim=1) / (sizes > 0).sum(dim=1)
    else:
        abnormal = (share @ selection.detach().unsqueeze(-1)).masked_fill(sizes == 0, float("-inf"))
        best = share.gather(1, abnormal.argmax(dim=1, keepdim=True).expand(-1, -1, share.shape[2]))
        means = (best @ averaged)[:, 0]
    return F.normalize(means, dim=-1)


def stream_of(image: Tensor, seed: int) -> np.random.RandomState:
    """The random stream of a preprocessed image (3, H, W): a hash of `seed` and its pixels, whatever its place."""
    pixels = image.detach().float().cpu().contiguous().numpy()
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=4, key=str(seed).encode()).digest()
    return np.random.RandomState(int.from_bytes(digest, "little"))


def _members(points: Tensor, n_clusters: int, streams: Sequence[np.random.RandomState] | None) -> Tensor:
    """One-hot membership (B, n_clusters, n) of k-means on points (B, n, d), rows in the given order.

    Raises NotFinite where distances between points would not be numbers; without streams results are not either then.
    """
    if streams is None:
        return batched_members(points.detach().float(), n_clusters).to(points)
    host = points.detach().float().cpu()  # of all images at once: a GPU waits once
    if not host.square().sum(dim=(1, 2)).isfinite().all():
        raise NotFinite(
            "the patch features to be clustered are not finite", where="method adaclip", hint="load other weights"
        )
    from sklearn.cluster import KMeans  # takes a second, which the library's other methods need not pay

    labels = [
        KMeans(n_clusters=n_clusters, n_init="auto", random_state=stream).fit_predict(of_image.numpy())
        for of_image, stream in zip(host, streams, strict=True)
    ]
    return F.one_hot(torch.from_numpy(np.stack(labels)).long(), n_clusters).transpose(1, 2).to(points)
