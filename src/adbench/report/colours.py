"""A perceptual colour scale of our own: lightness rises evenly from night blue over red and orange to pale yellow.

Built in CIELAB: lightness is linear in the value, so equal steps look equal, also in grey and to colour-blind eyes; hue
and chroma only help.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

LIGHTNESS = (8.0, 94.0)
HUE_DEGREES = (285.0, 465.0)  # 465 = 105: blue, purple, red, orange, yellow
CHROMA = (20.0, 70.0)  # at the ends, in the middle: all colours are within sRGB


@functools.cache
def scale() -> NDArray[np.uint8]:
    """The colour scale (256, 3) in 8-bit sRGB, from low to high."""
    from skimage.color import lab2rgb, lch2lab

    value = np.linspace(0.0, 1.0, 256)
    lightness = LIGHTNESS[0] + (LIGHTNESS[1] - LIGHTNESS[0]) * value
    hue = np.deg2rad(HUE_DEGREES[0] + (HUE_DEGREES[1] - HUE_DEGREES[0]) * value)
    chroma = CHROMA[0] + (CHROMA[1] - CHROMA[0]) * np.sin(np.pi * value) ** 0.8
    lch = np.stack([lightness, chroma, hue], axis=1)  # (256, 3)
    colours: NDArray[np.uint8] = (lab2rgb(lch2lab(lch)) * 255).round().astype(np.uint8)
    return colours


def colour(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Colours (..., 3) of `values`, with `low` and below the darkest, `high` and above the brightest."""
    span = high - low if high > low else 1.0
    index = ((np.asarray(values, np.float64) - low) / span).clip(0.0, 1.0) * 255
    colours: NDArray[np.uint8] = scale()[index.round().astype(np.int64)]
    return colours
