"""AA-CLIP's hyperparameters. What each is for, says configs/method/aaclip.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from adbench.methods.variants import Variant
from adbench.typed import Few, Fraction, NonEmpty, NonNegativeFloat, PositiveInt, Range

BY_VARIANT = {"text_levels": ("last", "all"), "surgery_axis": ("batch", "tokens")}


@dataclass(frozen=True, kw_only=True, slots=True)
class AaClipSettings:
    """None stands for the variant's choice, or for what suits tower and data."""

    variant: Variant = "official"
    levels: Annotated[Sequence[PositiveInt], NonEmpty] | None = None
    adapt_text: bool = True
    text_adapt_until: Few | None = None
    image_adapt_until: Few | None = None
    text_adapt_weight: Fraction = 0.1
    image_adapt_weight: Fraction = 0.1
    relu: bool = False
    class_phrases: Literal["official", "name"] | Mapping[str, str] = "official"
    domain: Literal["industrial", "medical"] | None = None
    text_levels: Literal["last", "all"] | None = None
    surgery_axis: Literal["batch", "tokens"] | None = None
    surgery_until_layer: Annotated[int, Range(2, 1000)] | None = None
    text_norm_weight: NonNegativeFloat = 0.1
