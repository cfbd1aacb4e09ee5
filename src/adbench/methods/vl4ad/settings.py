"""VL4AD's hyperparameters. What each is for, says configs/method/vl4ad.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from adbench.clip.dense import MULTIPLE, TowerKind
from adbench.methods.vl4ad.scoring import PixelScore
from adbench.typed import Fraction, Length, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Range


@dataclass(frozen=True, kw_only=True, slots=True)
class Vl4adSettings:
    """None stands for what suits the tower: see `for_tower`."""

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

    def for_tower(self, kind: TowerKind) -> Any:
        """These settings with what is None filled in, and checked. Raises ValueError for what does not go together.

        The result is of the same type; `Any` because nothing is None any more.
        """
        if self.hidden_dim % 32 or self.hidden_dim % self.num_heads:
            raise ValueError(f"hidden_dim is {self.hidden_dim}: no multiple of 32 and of num_heads, {self.num_heads}")
        if self.scales[0] > self.scales[1]:
            raise ValueError(f"scales is {list(self.scales)}, not a least and a largest factor")
        short, window, crop = (512, 512, (512, 512)) if kind == "vit" else (1024, 0, (512, 1024))
        short = short if self.short_side is None else self.short_side
        window = window if self.window is None else self.window
        two_thirds = max(MULTIPLE, round(window * 2 / 3 / MULTIPLE) * MULTIPLE)
        stride = two_thirds if self.window_stride is None else self.window_stride
        if window % MULTIPLE or stride % MULTIPLE:
            raise ValueError(f"window {window} and window_stride {stride} are no multiples of {MULTIPLE}")
        if window and stride > window:
            raise ValueError(f"window_stride {stride} is above window {window}: pixels would be left out")
        crop = crop if self.crop is None else (self.crop[0], self.crop[1])
        if min(crop) < MULTIPLE:
            raise ValueError(f"crop is {list(crop)}, not a height and a width of at least {MULTIPLE}")
        long = int(2.5 * short) if self.long_side is None else self.long_side
        return replace(self, short_side=short, long_side=long, crop=crop, window=window, window_stride=stride)


def train_short_sides(short_side: int, scales: Sequence[float]) -> tuple[int, ...]:
    """The short sides that training draws from: multiples of a tenth of testing's, from least to largest factor."""
    sides = tuple(int(short_side / 10 * x) for x in range(1, 41) if scales[0] <= x / 10 <= scales[1])
    return sides or (int(short_side * scales[0]),)
