"""Hybrid semantic fusion (HSF): an image feature from the most abnormal patches, by k-means."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.errors import NotFinite
from adbench.methods.variants import Variant


def fuse(
    tokens: Tensor,
    selection: Tensor,
    n_clusters: int,
    variant: Variant,
    streams: Sequence[np.random.RandomState],
) -> Tensor:
    """HSF feature of each image, unit length: (B, C).

    tokens     (B, layers, N, C) projected patch tokens, normalised
    selection  (B, N) probability that a patch is abnormal
    streams    B streams that each image's k-means start is drawn from, in order; one may stand for several images

    official: the 5 * n_clusters most abnormal patches, clustered on the layers' tokens side by side; the mean of the
    cluster means. paper: all patches, clustered on the layers' mean; the mean of the most abnormal cluster.
    Gradient flows through the tokens, not through selection and clustering.
    """
    fuse_image = _official if variant == "official" else _paper
    images = zip(tokens, selection, streams, strict=True)
    return torch.stack([fuse_image(t, s, n_clusters, stream) for t, s, stream in images])


def stream_of(image: Tensor, seed: int) -> np.random.RandomState:
    """The random stream of a preprocessed image (3, H, W): a hash of `seed` and its pixels, whatever its place."""
    pixels = image.detach().float().cpu().contiguous().numpy()
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=4, key=str(seed).encode()).digest()
    return np.random.RandomState(int.from_bytes(digest, "little"))


def _cluster(points: Tensor, n_clusters: int, random_state: np.random.RandomState) -> Tensor:
    """One-hot membership (n_clusters, n) of k-means on points (n, d), rows in the given order.

    Raises NotFinite where distances between points would not be numbers.
    """
    if not points.detach().float().square().sum().isfinite():
        raise NotFinite(
            "the patch features to be clustered are not finite", where="method adaclip", hint="load other weights"
        )
    from sklearn.cluster import KMeans  # takes a second, which the library's other methods need not pay

    kmeans = KMeans(n_clusters=n_clusters, n_init="auto", random_state=random_state)
    labels = kmeans.fit_predict(points.detach().float().cpu().numpy())
    members = F.one_hot(torch.from_numpy(labels).long(), n_clusters).T
    # Fewer distinct points than clusters leave some empty: these have no mean.
    return members[members.sum(dim=1) > 0].to(points)


def _official(tokens: Tensor, selection: Tensor, n_clusters: int, random_state: np.random.RandomState) -> Tensor:
    # k-means++ draws row numbers, so the order of the rows (most abnormal first) is part of the result.
    chosen = selection.topk(min(len(selection), 5 * n_clusters)).indices
    picked = tokens[:, chosen]  # (layers, k, C)
    members = _cluster(picked.transpose(0, 1).flatten(1), n_clusters, random_state)
    means = members @ picked.mean(dim=0) / members.sum(dim=1, keepdim=True)
    return F.normalize(means.mean(dim=0), dim=0)


def _paper(tokens: Tensor, selection: Tensor, n_clusters: int, random_state: np.random.RandomState) -> Tensor:
    averaged = tokens.mean(dim=0)  # (N, C)
    members = _cluster(averaged, n_clusters, random_state)
    share = members / members.sum(dim=1, keepdim=True)
    best = (share @ selection.detach()).argmax()
    return F.normalize(share[best] @ averaged, dim=0)
