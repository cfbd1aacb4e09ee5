"""What the tower sees of an image in testing: all of it, or overlapping windows, and the mirror image of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip.dense import MULTIPLE

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, slots=True)
class View:
    """A part of the padded image, or of its mirror image."""

    top: int
    left: int
    size: Size
    mirrored: bool


def lay_out(padded: Size, *, window: int | None, stride: int, mirrored: bool) -> list[View]:
    """The views of an image of size `padded`: the whole without a window, else windows in raster order.

    The last window of a row or column ends at the image's end. With `mirrored` the same of the mirror image follow.
    """
    size = padded if window is None else (min(window, padded[0]), min(window, padded[1]))
    tops, lefts = (_starts(length, part, stride) for length, part in zip(padded, size, strict=True))
    flips = (False, True) if mirrored else (False,)
    return [View(top, left, size, flip) for flip in flips for top in tops for left in lefts]


def _starts(length: int, part: int, stride: int) -> list[int]:
    n_steps = -(-(length - part) // stride)
    return [min(step * stride, length - part) for step in range(n_steps + 1)]


def pad(images: Tensor, value: float = 0.0) -> Tensor:
    """(..., H, W) with `value` added on the right and at the bottom, to multiples of 32."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % MULTIPLE, 0, -height % MULTIPLE), value=value)


def mirror(images: Tensor, contents: Sequence[Size]) -> Tensor:
    """(B, 3, H, W) with the content of each image mirrored; its padding stays on the right."""
    mirrored = images.clone()
    for image, (_, width) in zip(mirrored, contents, strict=True):
        image[..., :width] = image[..., :width].flip(-1)
    return mirrored


def cut(images: Tensor, contents: Sequence[Size], views: Sequence[View]) -> Tensor:
    """The views of padded images (B, 3, H, W): (B, views, 3, h, w)."""
    mirrored = mirror(images, contents) if any(view.mirrored for view in views) else images
    parts = [
        (mirrored if view.mirrored else images)[
            ..., view.top : view.top + view.size[0], view.left : view.left + view.size[1]
        ]
        for view in views
    ]
    return torch.stack(parts, dim=1)


def averaged(sums: Sequence[Tensor], views: Sequence[View], padded: Size) -> Tensor:
    """The mean (K, H, W) of the windows' class sums (K, h, w), where they overlap."""
    total = sums[0].new_zeros(len(sums[0]), *padded)
    count = sums[0].new_zeros(padded)
    for part, view in zip(sums, views, strict=True):
        place = (..., slice(view.top, view.top + view.size[0]), slice(view.left, view.left + view.size[1]))
        total[place] += part
        count[place] += 1
    return total / count
