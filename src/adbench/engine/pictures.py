"""Which images of an evaluation are worth a picture. Drawing is the report's business: a `Painter` is passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One image with what a method says of it.

    image  (H, W, 3) uint8, as the method saw it
    mask   (H', W') bool or None
    map    (H', W') float32, higher = more anomalous
    limits the smallest and largest map value of the class, for a common colour scale
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    map: NDArray[np.float32]
    limits: tuple[float, float]
    score: float
    label: int
    key: str
    class_name: str


Painter = Callable[[Picture], "Image"]
"""Draws a picture as one panel (`adbench.report.heatmaps.paint`)."""
