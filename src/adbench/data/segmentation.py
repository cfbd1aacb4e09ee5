"""Preprocessing of road scenes: aspect kept, short side resized, padded; crops, jitter and flips for training.

Sizes and order follow Mask2Former's and FC-CLIP's recipe for Cityscapes (resize, crop, colours, flip).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from adbench.data.label_maps import IGNORE
from adbench.data.pixels import normalised
from adbench.errors import UserError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """Random changes of a training picture and its label map.

    short_sides  one is drawn; the picture is resized to it, aspect kept
    long_side    but its longer side never exceeds this
    crop         (height, width) of the random crop; smaller pictures are padded to it (image 0 after normalisation,
                 label 255)
    flip         probability of mirroring
    jitter       colour jitter of SSD (Liu et al., ECCV 2016): brightness +-32 of 255, contrast and saturation x 0.5 to
                 1.5, hue +-36 degrees, each with probability 0.5; contrast before or after saturation and hue
    """

    short_sides: tuple[int, ...] = tuple(int(102.4 * x) for x in range(5, 21))
    long_side: int = 4096
    crop: tuple[int, int] = (512, 1024)
    flip: float = 0.5
    jitter: bool = True

    def __post_init__(self) -> None:
        if not self.short_sides or min(*self.short_sides, *self.crop, self.long_side) < 1:
            raise UserError("a size of the augmentation is below 1 pixel", hint="give positive numbers")
        if not 0 <= self.flip <= 1:
            raise UserError(f"the probability of mirroring is {self.flip}", hint="give 0 to 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentationTransform:
    """Resize the short side (bilinear), normalise, pad right and bottom with zeros to a multiple.

    short_side, long_side  in pixels: the shorter side is resized to the one, unless the longer would exceed the other
    mean, std              per channel, in [0, 1] units
    multiple               of which height and width of every tensor are
    augmentation           of training pictures; None: they are prepared as for evaluation

    Images are resized by PIL's bilinear filter with its antialiasing on 8-bit values, label maps by nearest neighbour,
    and only in training: for evaluation maps are resized to the labels. Masks of binary sets stay at their own size.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    short_side: int = 1024
    long_side: int = 2560
    multiple: int = 32
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        for name, size in (("short_side", self.short_side), ("long_side", self.long_side), ("multiple", self.multiple)):
            if size < 1:
                raise UserError(f"{name} is {size}", hint="give a positive number of pixels")

    @property
    def image_size(self) -> int:
        """The shorter side of pictures in pixels."""
        return self.short_side

    def content_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a picture of this size is resized to, without padding."""
        return resized(height, width, self.short_side, self.long_side)

    def image(self, image: Image.Image) -> Tensor:
        """Return (3, H, W) float32, normalised, H and W multiples of `multiple`; padding is 0 after normalisation."""
        height, width = self.content_size(image.height, image.width)
        return self._tensor(_resize(image.convert("RGB"), height, width), self._padded(height, width))

    def mask(self, mask: Image.Image) -> Tensor:
        """Return (h, w) bool at the mask's own size, True = anomalous."""
        return torch.from_numpy(np.asarray(mask.convert("L")) > 0)

    def augmented(self, image: Image.Image, labels: Pixels, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a training pair: (3, H, W) float32 as from `image`, and its labels (H, W) int64 with 255 as padding.

        image   a picture of any PIL mode; labels: (h, w) uint8 values of the same picture
        random  everything random is drawn from it: the same state gives the same pair
        """
        image = image.convert("RGB")
        plan = self.augmentation
        if plan is None:
            height, width = self.content_size(image.height, image.width)
            pixels, target = _resize(image, height, width), _resize_labels(labels, height, width)
            size = self._padded(height, width)
        else:
            short = int(random.choice(plan.short_sides))
            height, width = resized(image.height, image.width, short, plan.long_side)
            pixels, target = _resize(image, height, width), _resize_labels(labels, height, width)
            top, left = (
                int(random.integers(max(a - b, 0) + 1)) for a, b in zip((height, width), plan.crop, strict=True)
            )
            window = np.s_[top : top + plan.crop[0], left : left + plan.crop[1]]
            pixels, target = pixels[window], target[window]
            if plan.jitter:
                pixels = jittered(pixels, random)
            if random.random() < plan.flip:
                pixels, target = pixels[:, ::-1], target[:, ::-1]
            size = self._padded(*plan.crop)
        padded = np.full(size, IGNORE, np.int64)
        padded[: target.shape[0], : target.shape[1]] = target
        return self._tensor(pixels, size), torch.from_numpy(padded)

    def describe(self) -> dict[str, Any]:
        """Return the settings and the filters."""
        values = asdict(self)
        return {
            **{key: list(value) if isinstance(value, tuple) else value for key, value in values.items()},
            "image_filter": "PIL bilinear, antialiased",
            "label_filter": "nearest neighbour",
        }

    def _padded(self, height: int, width: int) -> tuple[int, int]:
        return -(-height // self.multiple) * self.multiple, -(-width // self.multiple) * self.multiple

    def _tensor(self, pixels: Pixels, size: tuple[int, int]) -> Tensor:
        values = normalised(torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous(), self.mean, self.std)
        padded = torch.zeros(3, *size)
        padded[:, : values.shape[1], : values.shape[2]] = values  # (3, h, w)
        return padded


def resized(height: int, width: int, short_side: int, long_side: int) -> tuple[int, int]:
    """Height and width with the shorter side `short_side`, but the longer at most `long_side`; aspect kept, rounded."""
    scale = min(short_side / min(height, width), long_side / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def jittered(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Colour jitter of SSD on (h, w, 3) RGB: see `Augmentation`. Every step ends in 8 bits, cut to 0...255."""
    if random.random() < 0.5:
        pixels = _linear(pixels, 1.0, random.uniform(-32, 32))
    contrast_first = random.random() < 0.5
    if contrast_first:
        pixels = _contrast(pixels, random)
    pixels = _saturation_and_hue(pixels, random)
    return pixels if contrast_first else _contrast(pixels, random)


def _contrast(pixels: Pixels, random: np.random.Generator) -> Pixels:
    return _linear(pixels, random.uniform(0.5, 1.5), 0.0) if random.random() < 0.5 else pixels


def _saturation_and_hue(pixels: Pixels, random: np.random.Generator) -> Pixels:
    gain = random.uniform(0.5, 1.5) if random.random() < 0.5 else 1.0
    shift = int(random.integers(-18, 19)) if random.random() < 0.5 else 0  # in units of 2 degrees
    if gain == 1.0 and shift == 0:
        return pixels
    hsv = np.array(Image.fromarray(np.ascontiguousarray(pixels)).convert("HSV"))
    hsv[..., 1] = _linear(hsv[..., 1], gain, 0.0)
    hsv[..., 0] = (hsv[..., 0].astype(np.int64) + round(shift * 256 / 180)) % 256  # PIL's hue: 256 to the circle
    return np.array(Image.fromarray(hsv, mode="HSV").convert("RGB"))


def _linear(values: Pixels, gain: float, offset: float) -> Pixels:
    scaled: Pixels = (values.astype(np.float32) * np.float32(gain) + np.float32(offset)).clip(0, 255).astype(np.uint8)
    return scaled


def _resize(image: Image.Image, height: int, width: int) -> Pixels:
    pixels: Pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return pixels


def _resize_labels(labels: Pixels, height: int, width: int) -> Pixels:
    values: Pixels = np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    return values
