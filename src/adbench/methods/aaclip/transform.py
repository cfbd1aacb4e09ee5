"""AA-CLIP's preprocessing and the random changes of its training images, together with their masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from torch import Tensor

from adbench.data.transforms import ClipTransform

_COLOUR, _COLOUR_CHANCE = 0.5, 0.7
_ANGLE, _SHIFT, _CHANCE = 30.0, 0.15, 0.5


@dataclass(frozen=True, slots=True)
class AaClipTransform(ClipTransform):
    """CLIP's preprocessing; in training with random changes, of `colours` too or not."""

    colours: bool = False

    def describe(self) -> dict[str, Any]:
        """The settings, and the changes in training."""
        changes = f"rotation {_ANGLE:g}, shift {_SHIFT:g}, flips" + (", colours" if self.colours else "")
        return {**ClipTransform.describe(self), "training": changes}

    def augmented_pair(
        self, image: Image.Image, mask: Image.Image | None, random: np.random.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """An image and its mask, changed alike: colours of the picture, then rotation, shift, flips of tensors."""
        if self.colours:
            image = image.convert("RGB")
            for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                if random.random() < _COLOUR_CHANCE:
                    image = enhance(image).enhance(random.uniform(1 - _COLOUR, 1 + _COLOUR))
        layers = self.image(image)
        if mask is not None:
            layers = torch.cat([layers, self.mask(mask)[None].float()])
        layers = _moved(layers, random)
        return layers[:3], None if mask is None else layers[3] > 0.5


def _moved(layers: Tensor, random: np.random.Generator) -> Tensor:
    """(C, S, S) rotated, shifted and flipped at random, by nearest neighbour; what comes in from outside is 0."""
    if random.random() < _CHANCE:
        layers = _rotated(layers, math.radians(random.uniform(-_ANGLE, _ANGLE)))
    if random.random() < _CHANCE:
        side = layers.shape[-1]
        layers = _shifted(layers, *(round(side * random.uniform(-_SHIFT, _SHIFT)) for _ in range(2)))
    for axis in (2, 1):
        if random.random() < _CHANCE:
            layers = layers.flip(axis)
    return layers


def _rotated(layers: Tensor, angle: float) -> Tensor:
    turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
    grid = F.affine_grid(turn[None], [1, *layers.shape], align_corners=False)
    return F.grid_sample(layers[None], grid, mode="nearest", padding_mode="zeros", align_corners=False)[0]


def _shifted(layers: Tensor, right: int, down: int) -> Tensor:
    height, width = layers.shape[1:]
    result = torch.zeros_like(layers)
    to_x, to_y = slice(max(right, 0), width + min(right, 0)), slice(max(down, 0), height + min(down, 0))
    from_x, from_y = slice(max(-right, 0), width + min(-right, 0)), slice(max(-down, 0), height + min(-down, 0))
    result[:, to_y, to_x] = layers[:, from_y, from_x]
    return result
