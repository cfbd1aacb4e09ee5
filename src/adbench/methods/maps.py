"""From patch grids to pixel maps: resizing and Gaussian smoothing."""

from __future__ import annotations

import contextlib
import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


def to_grid(patches: Tensor, side: int) -> Tensor:
    """Row-major patch values (..., side * side, channels) -> (..., channels, side, side)."""
    return patches.movedim(-1, -2).reshape(*patches.shape[:-2], patches.shape[-1], side, side)


def resize_bilinear(grids: Tensor, size: int, *, align_corners: bool) -> Tensor:
    """Resize (B, channels, h, w) to (B, channels, size, size)."""
    return F.interpolate(grids, size=(size, size), mode="bilinear", align_corners=align_corners)


def patch_maps(values: Tensor, size: int, *, align_corners: bool) -> Tensor:
    """Row-major values (B, layers, N) of the patches of a square grid, at image size: (B, layers, size, size)."""
    side = math.isqrt(values.shape[-1])
    return resize_bilinear(values.unflatten(-1, (side, side)), size, align_corners=align_corners)


def smooth(maps: Tensor, sigma: float, *, truncate: float = 4.0) -> Tensor:
    """Gaussian filter of maps (B, H, W), each alone: SciPy's `gaussian_filter` with its defaults.

    Beyond the border pixels are mirrored with the edge repeated ("reflect").
    sigma, in pixels; 0 is no filter. The kernel is cut at `truncate` sigma.
    """
    if sigma == 0:
        return maps
    rows, columns = (_gaussian_matrix(n, sigma, truncate, maps.dtype, maps.device) for n in maps.shape[-2:])
    with _as_they_are(maps):
        return rows @ maps @ columns.T


def smoothed_patch_maps(
    values: Tensor, size: int, sigma: float, *, align_corners: bool, truncate: float = 4.0
) -> Tensor:
    """`smooth` of the patches' `patch_maps`, (B, N) -> (B, size, size), without the map between: both are linear.

    An eighteenth of the time at 37 patches and 518 pixels a side; equal but for rounding.
    """
    if sigma == 0:
        return patch_maps(values.unsqueeze(1), size, align_corners=align_corners)[:, 0]
    side = math.isqrt(values.shape[-1])
    matrix = _upsampled_gaussian(side, size, sigma, truncate, align_corners, values.dtype, values.device)
    with _as_they_are(values):
        maps: Tensor = matrix @ values.unflatten(-1, (side, side)) @ matrix.T
    return maps


def _as_they_are(values: Tensor) -> contextlib.AbstractContextManager[object]:
    """No autocast inside: the 128 steps of bfloat16 between two powers of 2 are too few to rank the pixels by."""
    kind = values.device.type
    # Not entered in vain: a graph that is exported would hold it.
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else contextlib.nullcontext()


@cache
def _upsampled_gaussian(
    side: int,
    size: int,
    sigma: float,
    truncate: float,
    align_corners: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Bilinear resizing along one axis, then the filter, as a (size, side) matrix."""
    impulses = torch.eye(side, dtype=dtype)[:, None]  # (side, 1, side); in the type in which maps would be resized
    resizing = F.interpolate(impulses, size=size, mode="linear", align_corners=align_corners)[:, 0].T
    gaussian = _gaussian_matrix(size, sigma, truncate, torch.float64, torch.device("cpu"))
    product: Tensor = gaussian @ resizing.double()
    return product.to(device, dtype)


@cache
def _gaussian_matrix(size: int, sigma: float, truncate: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The filter along one axis as a (size, size) matrix: linear, and two products serve a whole batch."""
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    source = (torch.arange(size)[:, None] + offsets).remainder(2 * size)
    source = torch.where(source < size, source, 2 * size - 1 - source)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, source, (kernel / kernel.sum()).expand(size, -1)).to(device, dtype)


def blurred(grids: Tensor, size: int, sigma: float) -> Tensor:
    """Gaussian of grids (B, G, G) with a kernel of `size`, mirrored at the border without repeating the edge."""
    reach = size // 2
    offsets = torch.arange(-reach, reach + 1, dtype=grids.dtype, device=grids.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(grids.unsqueeze(1), (reach,) * 4, mode="reflect")
    with _as_they_are(grids):
        rows = F.conv2d(padded, kernel.view(1, 1, -1, 1))
        return F.conv2d(rows, kernel.view(1, 1, 1, -1))[:, 0]
