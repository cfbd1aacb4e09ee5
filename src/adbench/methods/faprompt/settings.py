"""FAPrompt's hyperparameters. What each is for, says configs/method/faprompt.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from adbench.methods.variants import Variant
from adbench.typed import Few, Length, NonNegativeFloat, PositiveFloat, PositiveInt, Sigma

BY_VARIANT = {
    "dap_select": ("first_m", "top_m"),
    "abnormal_state_word": ("damaged", ""),
    "prompt_suffix": (".", ""),
    "ortho_weight": (0.1, 2.0),  # the paper sums over i != j with weight 1, the code over i < j
    "prior_reduce": ("mean", "sum"),
    "local_weights": ((1.0, 0.5), (0.0, 1.0)),
    "global_losses": (("ce", "score_focal"), ("score_focal",)),
    "score_focal_logits": (True, False),
    "score_map_weights": ((2 / 3, 1 / 3), (0.5, 0.5)),
    "cls_ln_post": (False, True),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FaPromptSettings:
    """None stands for the variant's choice."""

    variant: Variant = "official"
    n_ctx_pos: Few = 5
    n_ctx_neg: Few = 2
    num_abnormal_prompts: Few = 10
    num_prior_patches: PositiveInt = 10
    deep_depth: Few = 9
    deep_tokens: Few = 4
    dpam_layer: PositiveInt = 20
    temperature: PositiveFloat = 0.07
    gaussian_sigma: Sigma = 10.0
    deep_token_half_cast: bool = True
    dap_select: Literal["first_m", "top_m"] | None = None
    abnormal_state_word: str | None = None
    prompt_suffix: str | None = None
    ortho_weight: NonNegativeFloat | None = None
    prior_reduce: Literal["mean", "sum"] | None = None
    local_weights: Annotated[Sequence[NonNegativeFloat], Length(2)] | None = None
    global_losses: Sequence[Literal["ce", "score_focal"]] | None = None
    score_focal_logits: bool | None = None
    score_map_weights: Annotated[Sequence[NonNegativeFloat], Length(2)] | None = None
    cls_ln_post: bool | None = None
    object_word: str = "object"
    normal_filler: str = "N"
    abnormal_filler: str = "A"
