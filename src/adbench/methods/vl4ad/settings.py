"""VL4AD's settings; sizes of test images, training crops and windows, and what suits each kind of tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from adbench.clip import Clip
from adbench.clip.dense import MULTIPLE, TowerKind
from adbench.data.segmentation import Augmentation, SegmentationTransform
from adbench.methods.vl4ad.scoring import PixelScore
from adbench.typed import (
    Fraction,
    Length,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Range,
)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Vl4adSettings:
    """Hyperparameters of VL4AD.

    vocabulary            the words: a name in configs/vocabulary, a YAML file, or its content
    concepts_train, concepts  which of its lists of concepts training and testing use; "names": the classes' names
    merge, ood            superclasses and OOD prompts in testing, by their names in the vocabulary; "none"
    use_void              void takes part in the softmax over classes
    out_vocab             geometric mean with frozen CLIP's classification of the masks; exponents alpha (classes that
                          were trained on) and beta (others)
    pixel_score           "max": minus the largest class sum; "one_minus_max"; "rba": minus the sum of their tanh
    tta_flip              mean over the image and its mirror image
    short_side, long_side  of test images, in pixels; training sides are `scales` times short_side, at most 4 times
    crop                  (height, width) of training crops; jitter: their colours are changed
    window, window_stride  side of test windows and distance of their corners; 0: the image as a whole
    num_queries ... decoder_ffn  sizes of the decoder; num_points ... no_object_weight: its loss (Mask2Former's)
    None stands for what suits the tower: see `resolve_sizes`.
    """

    vocabulary: str | Mapping[str, Any] = "cityscapes"
    concepts_train: str = "fcclip"
    concepts: str = "fcclip"
    merge: str = "cityscapes_categories"
    ood: str = "none"
    use_void: bool = True
    out_vocab: bool = False
    alpha: Fraction = 0.4
    beta: Fraction = 0.8
    pixel_score: PixelScore = "max"
    tta_flip: bool = False
    short_side: PositiveInt | None = None
    long_side: PositiveInt | None = None
    scales: Annotated[Sequence[PositiveFloat], Length(2)] = (0.5, 2.0)
    crop: Annotated[Sequence[PositiveInt], Length(2)] | None = None
    jitter: bool = True
    window: NonNegativeInt | None = None
    window_stride: PositiveInt | None = None
    num_queries: PositiveInt = 100
    hidden_dim: PositiveInt = 256
    num_heads: PositiveInt = 8
    encoder_layers: PositiveInt = 6
    encoder_ffn: PositiveInt = 1024
    decoder_layers: PositiveInt = 9
    decoder_ffn: PositiveInt = 2048
    num_points: PositiveInt = 12544
    oversample_ratio: Annotated[float, Range(1)] = 3.0
    importance_sample_ratio: Fraction = 0.75
    class_weight: NonNegativeFloat = 2.0
    mask_weight: NonNegativeFloat = 5.0
    dice_weight: NonNegativeFloat = 5.0
    no_object_weight: NonNegativeFloat = 0.1

    def check(self) -> None:
        """Raise ValueError for numbers that do not go with each other."""
        if self.hidden_dim % 32 or self.hidden_dim % self.num_heads:
            raise ValueError(f"hidden_dim is {self.hidden_dim}: no multiple of 32 and of num_heads, {self.num_heads}")

    def sizes(self, kind: TowerKind) -> Sizes:
        """Sizes with what is None filled in: see `resolve_sizes`."""
        return resolve_sizes(kind, self)


OF_DECODER = (
    *("num_queries", "hidden_dim", "num_heads", "encoder_layers", "encoder_ffn", "decoder_layers", "decoder_ffn"),
    *("num_points", "oversample_ratio", "importance_sample_ratio"),
    *("class_weight", "mask_weight", "dice_weight", "no_object_weight"),
)
"""The settings that `DecoderSizes` takes over."""


def resolve_sizes(kind: TowerKind, settings: Vl4adSettings) -> Sizes:
    """Sizes with what is None filled in, by the kind of tower. Raises ValueError for impossible ones.

    ConvNeXt  short side 1024, the image as a whole, crops of 512 x 1024 (Mask2Former's recipe for Cityscapes)
    ViT       short side 512, windows of 512 with stride 352 (two thirds, rounded to 32), crops of 512 x 512
    Longer sides are at most 2.5 times as long as the shorter one. Training draws a short side from 16 values between
    half and twice that of testing (`scales`).
    """
    is_vit = kind == "vit"
    short = settings.short_side if settings.short_side is not None else (512 if is_vit else 1024)
    window = settings.window if settings.window is not None else (512 if is_vit else 0)
    stride = (
        settings.window_stride
        if settings.window_stride is not None
        else max(MULTIPLE, round(window * 2 / 3 / MULTIPLE) * MULTIPLE)
    )
    if window % MULTIPLE or window < 0 or stride % MULTIPLE or stride < 1:
        raise ValueError(f"window {window} and window_stride {stride} are no multiples of {MULTIPLE}")
    if window and stride > window:
        raise ValueError(f"window_stride {stride} is above window {window}: pixels would be left out")
    scales = settings.scales
    if scales[0] > scales[1]:
        raise ValueError(f"scales is {list(scales)}, not a least and a largest factor")
    sides = tuple(int(short / 10 * x) for x in range(1, 41) if scales[0] <= x / 10 <= scales[1])
    crop = settings.crop if settings.crop is not None else ((512, 512) if is_vit else (512, 1024))
    if min(crop) < MULTIPLE:
        raise ValueError(f"crop is {list(crop)}, not a height and a width of at least {MULTIPLE}")
    return Sizes(
        short_side=short,
        long_side=settings.long_side if settings.long_side is not None else int(2.5 * short),
        train_short_sides=sides or (int(short * scales[0]),),
        crop=(int(crop[0]), int(crop[1])),
        window=window or None,
        window_stride=stride,
    )
