"""Sizes of test images, training crops and windows, and what suits each kind of tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adbench.clip import Clip
from adbench.clip.dense import MULTIPLE, TowerKind
from adbench.data.segmentation import Augmentation, SegmentationTransform


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """All in pixels. `window` None: test images as a whole."""

    short_side: int
    long_side: int
    train_short_sides: tuple[int, ...]
    crop: tuple[int, int]
    window: int | None
    window_stride: int

    def transform(self, clip: Clip, *, jitter: bool) -> SegmentationTransform:
        """The preprocessing with these sizes and the backbone's colours."""
        augmentation = Augmentation(
            short_sides=self.train_short_sides, long_side=4 * self.short_side, crop=self.crop, jitter=jitter
        )
        return SegmentationTransform(
            mean=clip.mean,
            std=clip.std,
            short_side=self.short_side,
            long_side=self.long_side,
            augmentation=augmentation,
        )


def resolve_sizes(
    kind: TowerKind,
    *,
    short_side: int | None,
    long_side: int | None,
    scales: Sequence[float],
    crop: Sequence[int] | None,
    window: int | None,
    window_stride: int | None,
) -> Sizes:
    """Sizes with what is None filled in, by the kind of tower. Raises ValueError for impossible ones.

    ConvNeXt  short side 1024, the image as a whole, crops of 512 x 1024 (Mask2Former's recipe for Cityscapes)
    ViT       short side 512, windows of 512 with stride 352 (two thirds, rounded to 32), crops of 512 x 512
    Longer sides are at most 2.5 times as long as the shorter one. Training draws a short side from 16 values between
    half and twice that of testing (`scales`).
    """
    is_vit = kind == "vit"
    short = short_side if short_side is not None else (512 if is_vit else 1024)
    window = window if window is not None else (512 if is_vit else 0)
    stride = window_stride if window_stride is not None else max(MULTIPLE, round(window * 2 / 3 / MULTIPLE) * MULTIPLE)
    if window % MULTIPLE or window < 0 or stride % MULTIPLE or stride < 1:
        raise ValueError(f"window {window} and window_stride {stride} are no multiples of {MULTIPLE}")
    if window and stride > window:
        raise ValueError(f"window_stride {stride} is above window {window}: pixels would be left out")
    if len(scales) != 2 or not 0 < scales[0] <= scales[1]:
        raise ValueError(f"scales is {list(scales)}, not a least and a largest factor above 0")
    sides = tuple(int(short / 10 * x) for x in range(1, 41) if scales[0] <= x / 10 <= scales[1])
    crop = crop if crop is not None else ((512, 512) if is_vit else (512, 1024))
    if len(crop) != 2 or min(crop) < MULTIPLE:
        raise ValueError(f"crop is {list(crop)}, not a height and a width of at least {MULTIPLE}")
    return Sizes(
        short_side=short,
        long_side=long_side if long_side is not None else int(2.5 * short),
        train_short_sides=sides or (int(short * scales[0]),),
        crop=(int(crop[0]), int(crop[1])),
        window=window or None,
        window_stride=stride,
    )
