"""MuSc's preprocessing: CLIP's for images, and of masks the rules of the authors' data sets beside the ordinary one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adbench.clip import Clip
from adbench.data.transforms import ClipTransform

MaskRule = Literal["half", "full", "any"]
_RULES = {"full": "== 1", "any": "> 0"}


def transform_for(clip: Clip, mask_rule: MaskRule) -> ClipTransform | MuScTransform:
    """What the method sees of a picture, and the metrics of a mask."""
    ordinary = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="before")
    return ordinary if mask_rule == "half" else MuScTransform(ordinary, mask_rule)


@dataclass(frozen=True, slots=True)
class MuScTransform:
    """`ordinary` but for masks: after resizing, pixels count that are anomalous in "full", or to "any" degree."""

    ordinary: ClipTransform
    mask_rule: MaskRule

    @property
    def image_size(self) -> int:
        """Side S of images and masks in pixels."""
        return self.ordinary.image_size

    def image(self, image: Image.Image) -> Tensor:
        """Return (3, S, S) float32, normalised."""
        return self.ordinary.image(image)

    def pixels(self, image: Image.Image) -> Tensor:
        """(3, S, S) uint8."""
        return self.ordinary.pixels(image)

    def normalised(self, pixels: Tensor) -> Tensor:
        """(..., 3, S, S) float32."""
        return self.ordinary.normalised(pixels)

    def mask(self, mask: Image.Image) -> Tensor:
        """Return (S, S) bool, True = anomalous."""
        binary = Image.fromarray((np.asarray(mask.convert("L")) > 0).astype(np.uint8) * 255)
        resized = np.asarray(binary.resize((self.image_size,) * 2, Image.Resampling.BILINEAR))
        return torch.from_numpy(resized == 255 if self.mask_rule == "full" else resized > 0)

    def describe(self) -> dict[str, Any]:
        """Return the settings and the filters."""
        return {**self.ordinary.describe(), "mask_filter": f"PIL bilinear, antialiased, {_RULES[self.mask_rule]}"}
