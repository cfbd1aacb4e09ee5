"""8-bit pixels and what CLIP sees of them: float32, normalised. The same bits on every device."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Three = tuple[float, float, float]


def planes(image: Image.Image) -> Tensor:
    """An RGB image as (3, H, W) uint8: plane by plane, a third of the time of a transposed copy."""
    pixels = np.empty((3, image.height, image.width), np.uint8)
    for plane, band in zip(pixels, image.split(), strict=True):
        plane[:] = np.asarray(band)
    return torch.from_numpy(pixels)


def normalised(pixels: Tensor, mean: Three, std: Three) -> Tensor:
    """(x / 255 - mean) / std of pixels (..., 3, H, W) uint8 as float32, on their device.

    On a GPU the 768 values there can be are looked up: its own division may differ in the last bit.
    """
    if pixels.device.type == "cpu":
        shift, scale = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
        return pixels.to(torch.float32).div_(255).sub_(shift).div_(scale)
    values = _values(mean, std, pixels.device)
    first = torch.arange(0, values.numel(), 256, device=pixels.device).view(3, 1, 1)
    return values[pixels.long() + first]


@lru_cache(maxsize=8)
def _values(mean: Three, std: Three, device: torch.device) -> Tensor:
    """What `normalised` makes of 0 to 255 in each channel, on `device`: (768,) float32."""
    levels = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    return normalised(levels, mean, std).flatten().to(device)
