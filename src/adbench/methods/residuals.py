"""Distance of feature vectors to the nearest of a set of normal ones: what InCTRL and WinCLIP+ compare images by."""

from __future__ import annotations

import torch
from torch import Tensor

_MAX_PRODUCTS = 1 << 24


def nearest_distance(queries: Tensor, normal: Tensor, scale: float) -> Tensor:
    """`scale` x (1 - cosine) to the nearest normal vector: (B, N, D), (M, D), both of unit length -> (B, N).

    Tiled over the queries, so that at most 64 MB of cosines (float32) exist at a time.
    """
    flat = queries.flatten(0, -2)  # (B * N, D)
    rows = max(1, _MAX_PRODUCTS // len(normal))
    # A graph has no loop over a number of images that is not known: it is not tiled.
    parts = (flat,) if torch.compiler.is_exporting() else flat.split(rows)
    nearest = torch.cat([(part @ normal.mT).amax(dim=-1) for part in parts])
    return scale * (1 - nearest).reshape(queries.shape[:-1])
