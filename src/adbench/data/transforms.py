"""From a decoded image and mask to the tensors that a method sees.

A transform belongs to a method (each paper has its own preprocessing); data sets only deliver decoded PIL images.
`ClipTransform` covers the papers that hand one resized image to CLIP. A method with further steps writes its own
class with the same three calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from adbench.data.pixels import normalised, planes
from adbench.errors import UserError


class Transform(Protocol):
    """What loaders need of a preprocessing. Must be picklable: loader workers receive a copy."""

    @property
    def image_size(self) -> int:
        """Side of the square image tensor in pixels; its shorter side where images keep their aspect."""

    def image(self, image: Image.Image) -> Tensor:
        """Turn a decoded image of any PIL mode into a normalised (3, image_size, image_size) float32 tensor."""

    def mask(self, mask: Image.Image) -> Tensor:
        """Turn a decoded mask (anything above 0 is anomalous) into an (M, M) bool tensor, M = the method's map size."""

    def describe(self) -> dict[str, Any]:
        """Everything that decides the result, as JSON-able values, for the record of a run."""


@runtime_checkable
class PixelTransform(Transform, Protocol):
    """A transform whose images are 8-bit pixels until they are normalised: `image` is `normalised(pixels(...))`.

    The size of its masks depends on that of the stored mask at most, and one that marks nothing stays so.
    """

    def pixels(self, image: Image.Image) -> Tensor:
        """Turn a decoded image of any PIL mode into a (3, image_size, image_size) uint8 tensor."""

    def normalised(self, pixels: Tensor) -> Tensor:
        """Turn pixels (..., 3, H, W) into float32 on their device, the same bits on each."""

    def __hash__(self) -> int:
        """Equal transforms have equal hashes."""


@runtime_checkable
class SceneTransform(Transform, Protocol):
    """A transform that keeps the aspect of pictures, so that tensors of several sizes come out (road scenes)."""

    def content_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a picture of this size has in its tensor: its upper left part, the rest is padding."""

    def augmented(
        self, image: Image.Image, labels: NDArray[np.uint8], random: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Turn an image and its label map (h, w) into a training pair: (3, H, W) float32 and (H, W) int64."""


@runtime_checkable
class PairTransform(Transform, Protocol):
    """A transform that changes training images at random, together with their masks."""

    def augmented_pair(
        self, image: Image.Image, mask: Image.Image | None, random: np.random.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """What `image` and `mask` give, of the picture and its mask changed alike; draws from `random` alone."""


MaskRule = Literal["half", "full", "any", "nearest"]
_MASK_RULES = {  # the least value of 255 that counts, and the rule in words
    "half": (128, "PIL bilinear, antialiased, > 0.5"),
    "full": (255, "PIL bilinear, antialiased, == 1"),
    "any": (1, "PIL bilinear, antialiased, > 0"),
    "nearest": (255, "PIL nearest, > 0"),
}


@dataclass(frozen=True, slots=True)
class ClipTransform:
    """Resize, centre crop, scale to [0, 1], normalise: the preprocessing of CLIP in the variants that papers use.

    image_size  side S of the result in pixels
    mean, std   per channel, in [0, 1] units
    resize      "squash": both sides to S, aspect ratio lost (AdaCLIP, AnomalyCLIP, FAPrompt, WinCLIP).
                "short_side": the shorter side to S, then the middle S x S: borders of oblong images are lost (InCTRL)
    rgb         "before": convert to RGB, then resize (AdaCLIP). "after": resize in the stored mode, then convert
                (AnomalyCLIP, FAPrompt, InCTRL): PIL resizes palette and 1-bit images with nearest neighbour whatever
                filter is asked for, and RGBA images weighted by alpha, so the two orders differ for such files
    map_size    side of the masks; None: as image_size
    mask_rule   which pixels of the resized mask count: "half": above 0.5 of full scale; "full": at full scale; "any":
                above 0; "nearest": where the nearest stored pixel is not 0

    Images are resized by PIL's bicubic filter with its antialiasing on 8-bit values; masks are set to 0 or 255 and, but
    for "nearest", resized by PIL's bilinear filter on 8-bit values. EXIF orientation is not applied: none of the
    authors' codes does, and masks carry no such tag.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["squash", "short_side"] = "squash"
    rgb: Literal["before", "after"] = "before"
    map_size: int | None = None
    mask_rule: MaskRule = "half"

    def __post_init__(self) -> None:
        for name, size in (("image_size", self.image_size), ("map_size", self.map_size)):
            if size is not None and size < 1:
                raise UserError(f"{name} is {size}", hint="give a positive number of pixels")
        for name, value, choices in (
            ("resize", self.resize, ("squash", "short_side")),
            ("rgb", self.rgb, ("before", "after")),
            ("mask_rule", self.mask_rule, tuple(_MASK_RULES)),
        ):
            if value not in choices:
                raise UserError(f"{name} is {value!r}", hint=f"choose one of {', '.join(choices)}")

    def image(self, image: Image.Image) -> Tensor:
        """Return (3, S, S) float32, normalised."""
        return self.normalised(self.pixels(image))

    def pixels(self, image: Image.Image) -> Tensor:
        """Return (3, S, S) uint8."""
        if self.rgb == "before":
            image = image.convert("RGB")
        return planes(self._fit(image, self.image_size, Image.Resampling.BICUBIC).convert("RGB"))

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return (..., 3, S, S) float32."""
        return normalised(pixels, self.mean, self.std)

    def mask(self, mask: Image.Image) -> Tensor:
        """Return (M, M) bool, True = anomalous."""
        binary = Image.fromarray((np.asarray(mask.convert("L")) > 0).astype(np.uint8) * 255)
        resample = Image.Resampling.NEAREST if self.mask_rule == "nearest" else Image.Resampling.BILINEAR
        resized = np.asarray(self._fit(binary, self.map_size or self.image_size, resample))
        return torch.from_numpy(resized >= _MASK_RULES[self.mask_rule][0])

    def describe(self) -> dict[str, Any]:
        """Return the settings and the filters."""
        return {
            "image_size": self.image_size,
            "map_size": self.map_size or self.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": self.resize,
            "rgb": self.rgb,
            "image_filter": "PIL bicubic, antialiased",
            "mask_filter": _MASK_RULES[self.mask_rule][1],
        }

    def _fit(self, image: Image.Image, side: int, resample: Image.Resampling) -> Image.Image:
        if self.resize == "squash":
            return image.resize((side, side), resample)
        width, height = image.size
        # The longer side is rounded down, the crop's corner to the nearest pixel (halves to even): torchvision's rule.
        size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
        left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
        return image.resize(size, resample).crop((left, top, left + side, top + side))
