"""LNAMD: patch features of several degrees, each patch a mean of its neighbourhood."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.methods.maps import to_grid


def standardise(patches: Tensor) -> Tensor:
    """Patches (B, T, D) with mean 0 and variance 1, both over all numbers of an image: no layer norm of tokens."""
    return F.layer_norm(patches, patches.shape[1:], eps=1e-5)


def aggregate(patches: Tensor, side: int, r: int) -> Tensor:
    """Unit vectors (B, T, D) along the means of r x r neighbours of standardised patches, zeros around the grid."""
    if r > 1:
        grids = to_grid(patches, side)  # (B, D, G, G)
        patches = F.avg_pool2d(grids, r, stride=1, padding=r // 2).flatten(2).mT
    lengths: Tensor = torch.linalg.vector_norm(patches, dim=-1, keepdim=True)
    return patches / lengths
