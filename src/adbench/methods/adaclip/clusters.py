"""k-means of a whole batch without random numbers, on the device: the host waits for nothing."""

from __future__ import annotations

import torch
from torch import Tensor

ITERATIONS = 30
"""Of Lloyd's algorithm, always: to ask whether anything still moves would make the host wait."""


@torch.no_grad()
def batched_members(points: Tensor, n_clusters: int) -> Tensor:
    """One-hot membership (B, n_clusters, n) of points (B, n, d); clusters may be empty.

    Lloyd's algorithm from the first point, then each time the point that is farthest from those taken.
    """
    batch = torch.arange(len(points), device=points.device)
    taken = [points[:, 0]]
    nearest = torch.full(points.shape[:2], float("inf"), dtype=points.dtype, device=points.device)
    for _ in range(n_clusters - 1):
        nearest = torch.minimum(nearest, (points - taken[-1].unsqueeze(1)).square().sum(dim=-1))
        taken.append(points[batch, nearest.argmax(dim=1)])
    centres = torch.stack(taken, dim=1)  # (B, k, d)
    for _ in range(ITERATIONS):
        members = _nearest(points, centres)
        sizes = members.sum(dim=2, keepdim=True)
        centres = torch.where(sizes > 0, members @ points / sizes.clamp(min=1), centres)
    return _nearest(points, centres)


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Which centre (B, k, d) is nearest to each point, the first of several: one-hot (B, k, n) of the points' dtype."""
    distances = centres.square().sum(dim=-1, keepdim=True) - 2 * centres @ points.transpose(1, 2)  # less |point|^2
    numbers = torch.arange(centres.shape[1], device=points.device)
    return (distances.argmin(dim=1, keepdim=True) == numbers[:, None]).to(points.dtype)
