"""Large pictures that are used in pieces, as the papers' scripts cut them. Nothing is written: see `containers`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from adbench.data.containers import Box
from adbench.data.images import stored_size
from adbench.data.mask_values import read_mask
from adbench.errors import UserError


def thirds(size: tuple[int, int]) -> list[Box]:
    """Cut a picture of `size` (width, height) along its height into three, at floor(height/3) and floor(2 height/3)."""
    width, height = size
    edges = [height * number // 3 for number in range(4)]
    return [(0, upper, width, lower) for upper, lower in pairwise(edges)]


def columns(size: tuple[int, int], step: int) -> list[Box]:
    """Cut a picture of `size` (width, height) along its width every `step` pixels; the last piece may be narrower."""
    width, height = size
    return [(left, 0, min(left + step, width), height) for left in range(0, width, step)]


def marked(image: Path, mask: Path, boxes: Sequence[Box]) -> list[bool]:
    """Whether `mask`, which belongs to `image`, has any value above 0 in each of the boxes.

    Raises UserError for a mask of another size than its image: a tile of the one would be another place of the other.
    """
    values = read_mask(mask, image=image).values
    height, width = stored_size(image)
    if values.shape != (height, width):
        raise UserError(
            f"mask is {values.shape[1]}x{values.shape[0]} pixels but its image {width}x{height}",
            where=f"{mask}, of image {image}",
            hint="take both files from the archive again",
        )
    return [bool(values[upper:lower, left:right].any()) for left, upper, right, lower in boxes]
