"""PromptAD's preprocessing: a squash to 1024 x 1024 with OpenCV's 8-bit arithmetic, then CLIP's own transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from adbench.data.pixels import normalised
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError

# Side in pixels to which the authors' code squashes every image and mask first.
FIRST_SIZE = 1024
_ONE = 2048  # OpenCV's weights of 8-bit interpolation are in units of 1/2048

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PromptAdTransform:
    """Two resizes: bilinear to 1024 x 1024, aspect ratio lost, then PIL bicubic to `resize`; middle `image_size` px.

    Both results are 8-bit images. Masks: anything above 0 is anomalous; nearest neighbour to 1024, then to `map_size`.
    """

    image_size: int
    resize: int
    map_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if min(self.image_size, self.resize, self.map_size) < 1:
            raise UserError("a side of PromptAD's images or maps is below 1 pixel", hint="give positive numbers")
        if self.image_size > self.resize:
            raise UserError(
                f"the crop of {self.image_size} px is larger than the image of {self.resize} px",
                where="img_cropsize",
                hint="give img_resize at least the size of img_cropsize",
            )

    def image(self, image: Image.Image) -> Tensor:
        """Return (3, S, S) float32, red first, normalised."""
        return self.normalised(self.pixels(image))

    def pixels(self, image: Image.Image) -> Tensor:
        """Return (3, S, S) uint8, red first."""
        squashed = Image.fromarray(resize_bilinear_8bit(np.asarray(image.convert("RGB")), FIRST_SIZE))
        if self.resize != self.image_size:
            squashed = squashed.resize((self.resize, self.resize), Image.Resampling.BICUBIC)
            corner = round((self.resize - self.image_size) / 2)
            squashed = squashed.crop((corner, corner, corner + self.image_size, corner + self.image_size))
        return ClipTransform(self.image_size, self.mean, self.std).pixels(squashed)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return (..., 3, S, S) float32."""
        return normalised(pixels, self.mean, self.std)

    def mask(self, mask: Image.Image) -> Tensor:
        """Return (M, M) bool, True = anomalous."""
        anomalous = np.asarray(mask.convert("L")) > 0
        return torch.from_numpy(resize_nearest(resize_nearest(anomalous, FIRST_SIZE), self.map_size))

    def describe(self) -> dict[str, Any]:
        """Return the settings and the filters."""
        return {
            "image_size": self.image_size,
            "resize": self.resize,
            "map_size": self.map_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "image_filter": f"OpenCV bilinear, 8 bits, to {FIRST_SIZE} x {FIRST_SIZE}; PIL bicubic, antialiased",
            "mask_filter": f"> 0; OpenCV nearest to {FIRST_SIZE} x {FIRST_SIZE}, then to map_size",
        }


def exchange_red_and_blue(images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """What normalised RGB images (B, 3, H, W) would be, had red and blue been exchanged before they were normalised."""
    scale = torch.tensor([std[2] / std[0], 1.0, std[0] / std[2]]).view(3, 1, 1)
    shift = torch.tensor([(mean[2] - mean[0]) / std[0], 0.0, (mean[0] - mean[2]) / std[2]]).view(3, 1, 1)
    return images.flip(-3) * scale.to(images) + shift.to(images)


def resize_bilinear_8bit(pixels: Bytes, side: int) -> Bytes:
    """Resize (h, w, channels) to (side, side, channels) as OpenCV's INTER_LINEAR does on 8-bit images, to the bit.

    Weights are integers in units of 1/2048. At the border, columns are clamped with weight 1 on the border column; of
    rows, only the indices are clamped.
    """
    height, width = pixels.shape[:2]
    if height == width == side:
        return pixels
    x, fx = _source_positions(width, side)
    inside = (x >= 0) & (x < width - 1)
    x, fx = np.clip(x, 0, width - 1), np.where(inside, fx, np.float32(0))
    y, fy = _source_positions(height, side)
    c0, c1 = (weight[None, :, None] for weight in _weights(fx))
    d0, d1 = (weight[:, None, None] for weight in _weights(fy))
    pixels32 = pixels.astype(np.int32)
    rows = _weighted(pixels32, x, c0, axis=1)  # (h, side, channels)
    rows += _weighted(pixels32, np.minimum(x + 1, width - 1), c1, axis=1)
    rows >>= 4
    above = _weighted(rows, np.clip(y, 0, height - 1), d0, axis=0)
    below = _weighted(rows, np.clip(y + 1, 0, height - 1), d1, axis=0)
    above >>= 16
    below >>= 16
    above += below
    above += 2
    above >>= 2
    return above.astype(np.uint8)


def _weighted(
    pixels: NDArray[np.int32], index: NDArray[np.int64], weight: NDArray[np.int32], *, axis: int
) -> NDArray[np.int32]:
    taken = pixels.take(index, axis=axis)
    taken *= weight
    return taken


def _source_positions(source: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Lower source index and fraction of each target pixel."""
    position = ((np.arange(side) + 0.5) * (source / side) - 0.5).astype(np.float32)
    lower = np.floor(position)
    return lower.astype(np.int64), position - lower


def _weights(fraction: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    unit = np.float32(_ONE)
    return (
        np.rint((np.float32(1) - fraction) * unit).astype(np.int32),
        np.rint(fraction * unit).astype(np.int32),
    )


def resize_nearest(values: NDArray[Any], side: int) -> NDArray[Any]:
    """Resize (h, w) to (side, side) as OpenCV's INTER_NEAREST does.

    The source index of pixel i is floor(i * source / side) in OpenCV's order of operations: in float64 its step is a
    reciprocal of a quotient, so that for some sizes (840 to 1024) a whole number is missed by one.
    """
    rows, columns = (np.floor(np.arange(side) * (1.0 / (side / size))).astype(np.int64) for size in values.shape)
    return values[np.ix_(np.minimum(rows, values.shape[0] - 1), np.minimum(columns, values.shape[1] - 1))]
