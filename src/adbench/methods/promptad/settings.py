"""PromptAD's hyperparameters. What each is for, says configs/method/promptad.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from adbench.methods.promptad.states import Source
from adbench.methods.variants import Variant
from adbench.typed import Few, Fraction, NonEmpty, NonNegativeFloat, NonNegativeInt, PositiveInt, Range, Side, Sigma

Task = Literal["cls", "seg"]
Prototype = Literal["mean_of_raw", "mean_of_normalised"]
BY_VARIANT = {
    "memory_tap": ("post_attention_next", "block_output"),
    "logit_scale": ("raw", "exp"),
    "margin_axis": ("tokens", "channels"),
    "lap_position": ("before_noun", "after_noun"),
    "manual_form": ("around_noun", "after_noun"),
    "pairing": ("modulo", "product"),
    "test_channel_order": ("bgr", "rgb"),
}
_N_PRO: dict[Task, int] = {"cls": 3, "seg": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptAdSettings:
    """None stands for the variant's choice, or for what suits task and backbone."""

    variant: Variant = "official"
    task: Literal["cls", "seg", "both"] = "both"
    n_pro: Few | None = None
    n_pro_ab: Few = 4
    n_ctx: Few = 4
    n_ctx_ab: Few = 1
    init_std: NonNegativeFloat = 0.02
    suffixes: Source = "auto"
    vv_last_blocks: PositiveInt = 12
    memory_blocks: Annotated[Sequence[NonNegativeInt], NonEmpty] | None = None
    memory_tap: Literal["post_attention_next", "block_output"] | None = None
    logit_scale: Literal["raw", "exp"] | None = None
    margin: float = 0.0
    margin_axis: Literal["tokens", "channels"] | None = None
    lap_position: Literal["before_noun", "after_noun"] | None = None
    manual_form: Literal["around_noun", "after_noun"] | None = None
    pairing: Literal["modulo", "product"] | None = None
    prototype: Prototype = "mean_of_raw"
    test_channel_order: Literal["bgr", "rgb"] | None = None
    guidance: Literal["both", "prompt", "vision"] = "both"
    select: Literal["last", "best_on_test"] = "last"
    epochs: NonNegativeInt = 100
    batch_size: PositiveInt = 400
    lr: NonNegativeFloat = 0.002
    eta_min: NonNegativeFloat = 1e-5
    momentum: Fraction = 0.9
    weight_decay: NonNegativeFloat = 5e-4
    lambda1: NonNegativeFloat = 0.001
    resolution: Side = 400
    map_blur_sigma: Sigma = 4.0
    map_blur_truncate: Annotated[float, Range(0, 100, above=True)] = 4.0
    img_resize: Side | None = None
    img_cropsize: Side | None = None

    def normal_contexts(self) -> dict[Task, int]:
        """The tasks that prompts are fitted for, and the number of normal contexts of each."""
        tasks: list[Task] = ["cls", "seg"] if self.task == "both" else [self.task]
        return {task: self.n_pro or _N_PRO[task] for task in tasks}
