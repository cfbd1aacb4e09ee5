"""FAPrompt's switches: where the authors' code and the paper differ, and what each of the two says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

DapSelect = Literal["first_m", "top_m"]
PriorReduce = Literal["mean", "sum"]
GlobalLoss = Literal["ce", "score_focal"]
Variant = Literal["official", "paper"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Switches:
    """One value per point of difference; the fields are `FaPrompt`'s arguments of the same names."""

    dap_select: DapSelect
    abnormal_state_word: str
    prompt_suffix: str
    ortho_weight: float
    prior_reduce: PriorReduce
    local_weights: tuple[float, float]
    global_losses: tuple[GlobalLoss, ...]
    score_focal_logits: bool
    score_map_weights: tuple[float, float]
    cls_ln_post: bool

    def __post_init__(self) -> None:
        if not self.score_focal_logits and sum(self.score_map_weights) > 1 + 1e-6:
            raise ValueError(
                f"score_map_weights sum to {sum(self.score_map_weights):g}: the image score is no probability then, "
                "which score_focal_logits=false needs"
            )


OFFICIAL = Switches(
    dap_select="first_m",
    abnormal_state_word="damaged",
    prompt_suffix=".",
    ortho_weight=0.1,
    prior_reduce="mean",
    local_weights=(1.0, 0.5),
    global_losses=("ce", "score_focal"),
    score_focal_logits=True,
    score_map_weights=(2 / 3, 1 / 3),
    cls_ln_post=False,
)
PAPER = Switches(
    dap_select="top_m",
    abnormal_state_word="",
    prompt_suffix="",
    ortho_weight=2.0,  # the paper sums over i != j with weight 1, the code over i < j
    prior_reduce="sum",
    local_weights=(0.0, 1.0),
    global_losses=("score_focal",),
    score_focal_logits=False,
    score_map_weights=(0.5, 0.5),
    cls_ln_post=True,
)


def resolve(variant: Variant, **given: Any) -> Switches:
    """The switches of a variant with those replaced that are given as something else than None.

    Raises ValueError for weights that do not go with each other.
    """
    changes = {key: value for key, value in given.items() if value is not None}
    for key in ("local_weights", "global_losses", "score_map_weights"):  # YAML gives lists
        if key in changes:
            changes[key] = tuple(changes[key])
    return replace(PAPER if variant == "paper" else OFFICIAL, **changes)
