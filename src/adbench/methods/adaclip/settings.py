"""AdaCLIP's hyperparameters. What each is for, says configs/method/adaclip.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from adbench.methods.variants import Variant
from adbench.typed import NonEmpty, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Sigma

BY_VARIANT = {"hsf_variant": ("official", "paper"), "hsf_alpha": (0.2, 1.0)}


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaClipSettings:
    """None stands for the variant's choice, or for what suits the tower."""

    variant: Variant = "official"
    prompting_depth: PositiveInt = 4
    prompting_length: PositiveInt = 5
    prompting_type: Literal["SD", "S", "D", ""] = "SD"
    prompting_branch: Literal["VL", "V", "L", ""] = "VL"
    use_hsf: bool = True
    k_clusters: PositiveInt = 20
    hsf_variant: Variant | None = None
    hsf_alpha: NonNegativeFloat | None = None
    kmeans: Literal["sklearn", "batched"] = "sklearn"
    kmeans_stream: Literal["image", "running"] = "image"
    kmeans_seed: NonNegativeInt = 111
    output_layers: Annotated[Sequence[PositiveInt], NonEmpty] | None = None
    temperature: PositiveFloat = 100.0
    gaussian_sigma: Sigma = 4.0
    dice_mode: Literal["rows", "image"] = "rows"
    prompt_fp16_rounding: bool = False
