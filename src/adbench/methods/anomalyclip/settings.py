"""AnomalyCLIP's hyperparameters. What each is for, says configs/method/anomalyclip.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from adbench.methods.variants import Variant
from adbench.typed import Few, NonEmpty, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Sigma

BY_VARIANT = {"lambda_local": (4.0, 1.0), "cls_ln_post": (False, True), "prompt_suffix": (".", "")}


@dataclass(frozen=True, kw_only=True, slots=True)
class AnomalyClipSettings:
    """None stands for the variant's choice."""

    variant: Variant = "official"
    n_ctx: Few = 12
    deep_depth: Few = 9
    deep_tokens: Few = 4
    dpam_layer: PositiveInt = 20
    features_list: Annotated[Sequence[PositiveInt], NonEmpty] | None = None
    feature_map_layer: Annotated[Sequence[NonNegativeInt], NonEmpty] = (0,)
    lambda_local: NonNegativeFloat | None = None
    temperature: PositiveFloat = 0.07
    gaussian_sigma: Sigma = 4.0
    cls_ln_post: bool | None = None
    prompt_suffix: str | None = None
    object_word: str = "object"
    abnormal_state_word: str = "damaged"
    filler: str = "X"
    deep_token_half_cast: bool = True
