"""RsCIN: the score of an image, averaged with those of the images that look most like it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def neighbour_means(maxima: Tensor, features: Tensor, k_list: Sequence[int]) -> Tensor:
    """Image scores (N,) float32 of a whole class.

    maxima    (N,) largest value of each image's anomaly map; scaled to [0, 1] over the class, 0 where all are equal
    features  (N, E) unit vectors of the images
    k_list    neighbours, the image itself among them: means weighted by cosines, then the plain mean over the list
    """
    spread = maxima.max() - maxima.min()
    scaled = ((maxima - maxima.min()) / torch.where(spread > 0, spread, 1)).float()
    cosines, nearest = (features @ features.T).topk(max(k_list), dim=1)  # (N, k) each
    cosines, known = cosines.float(), scaled[nearest]
    means = [
        scaled if k == 1 else (cosines[:, :k] * known[:, :k]).sum(dim=1) / cosines[:, :k].sum(dim=1) for k in k_list
    ]
    return torch.stack(means).mean(dim=0)
