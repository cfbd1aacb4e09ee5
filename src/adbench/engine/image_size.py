"""Maps and masks at the size of the images as they are stored: maps are scaled up to masks, masks never to maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from adbench.data.sample import Batch
from adbench.errors import UserError
from adbench.methods.base import Method

Maps = Tensor | Sequence[Tensor]  # (B, H, W), or (H, W) each


def resized(map_: Tensor, size: Sequence[int]) -> Tensor:
    """A map (H, W) resized bilinearly (corners not aligned) to `size` (height, width)."""
    if tuple(map_.shape) == tuple(size):
        return map_
    height, width = size
    return functional.interpolate(map_[None, None].float(), size=(height, width), mode="bilinear")[0, 0]


def at_image_size(maps: Maps, batch: Batch) -> list[Tensor]:
    """The maps of a batch, each at the size of its stored image."""
    # On the CPU, whatever the device: kept maps then give the same figures again.
    return [resized(map_.detach().cpu(), size) for map_, size in zip(maps, batch.sizes or (), strict=True)]


def masks_at_image_size(batch: Batch) -> list[NDArray[np.bool_]]:
    """Where each image of a batch is anomalous: its defects joined, at its stored size."""
    masks = [np.zeros(size, np.bool_) for size in batch.sizes or ()]
    for mask, defects in zip(masks, batch.defects or (), strict=True):
        for defect in defects:
            mask |= defect.mask
    return masks


def sees_all(method: Method) -> bool:
    """Whether a method's maps cover the whole picture: its transform squashes it, or resizes it without a crop."""
    described = method.transform.describe()
    return described.get("resize") in (None, "squash", described.get("image_size"))


def check_sees_all(method: Method, where: str) -> None:
    """Raise UserError where the maps of a method cannot be scaled up to the images."""
    if not sees_all(method):
        raise UserError(
            f"method {method.name} crops its pictures, so its maps do not cover them",
            where=where,
            hint="choose a method that sees the whole picture",
        )
