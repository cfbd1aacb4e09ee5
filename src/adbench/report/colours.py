"""A perceptual colour scale of our own: lightness rises evenly from night blue over red and orange to pale yellow.

Built in OKLCH (Ottosson 2020, https://bottosson.github.io/posts/oklab/): lightness is linear in the value, so equal
steps look equal, also in grey and to colour-blind eyes; hue and chroma only help.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

LIGHTNESS = (0.18, 0.94)
HUE_DEGREES = (285.0, 465.0)  # 465 = 105: blue, purple, red, orange, yellow
CHROMA = (0.06, 0.21)  # at the ends, in the middle

# OKLab -> cube roots of cone responses -> linear sRGB
_LAB_TO_CONES = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_CONES_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@functools.cache
def scale() -> NDArray[np.uint8]:
    """The colour scale (256, 3) in 8-bit sRGB, from low to high."""
    value = np.linspace(0.0, 1.0, 256)
    lightness = LIGHTNESS[0] + (LIGHTNESS[1] - LIGHTNESS[0]) * value
    hue = np.deg2rad(HUE_DEGREES[0] + (HUE_DEGREES[1] - HUE_DEGREES[0]) * value)
    chroma = CHROMA[0] + (CHROMA[1] - CHROMA[0]) * np.sin(np.pi * value) ** 0.8
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)  # (256, 3)
    linear = ((lab @ _LAB_TO_CONES.T) ** 3 @ _CONES_TO_RGB.T).clip(0.0, 1.0)
    gamma = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: NDArray[np.uint8] = (gamma * 255).round().astype(np.uint8)
    return colours


def colour(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Colours (..., 3) of `values`, with `low` and below the darkest, `high` and above the brightest."""
    span = high - low if high > low else 1.0
    index = ((np.asarray(values, np.float64) - low) / span).clip(0.0, 1.0) * 255
    colours: NDArray[np.uint8] = scale()[index.round().astype(np.int64)]
    return colours
