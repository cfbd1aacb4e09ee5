"""Anomaly maps at the pictures' own size: resized to the part of a picture that the method saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from adbench.engine.accumulators import as_array

if TYPE_CHECKING:
    from torch import Tensor

    from adbench.data.transforms import Transform


def at_own_size(map_: Tensor, size: tuple[int, int], transform: Transform) -> NDArray[np.float32]:
    """A map (h, w) of a picture of (height, width) `size`: resized bilinearly, NaN where the method saw nothing."""
    values = torch.from_numpy(as_array(map_).copy()).float()
    if tuple(values.shape) == size:
        return values.numpy()
    top, left, bottom, right = _seen(size, transform.describe())
    resized = F.interpolate(values[None, None], (bottom - top, right - left), mode="bilinear", align_corners=False)
    whole = np.full(size, np.nan, np.float32)
    whole[top:bottom, left:right] = resized[0, 0].numpy()
    return whole


def _seen(size: tuple[int, int], described: dict[str, Any]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the part of a picture that a transform shows the method."""
    height, width = size
    if described.get("resize") == "short_side":
        side = min(size)
        top, left = (height - side) // 2, (width - side) // 2
        return top, left, top + side, left + side
    resized = described.get("resize", described["image_size"])
    share = described["image_size"] / resized if isinstance(resized, int) else 1.0  # a crop of the squashed picture
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    return top, left, height - top, width - left
