"""MuSc's hyperparameters. What each is for, says configs/method/musc.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from adbench.typed import Few, Length, NonEmpty, NonNegativeFloat, NonNegativeInt, PositiveInt


@dataclass(frozen=True, kw_only=True, slots=True)
class MuScSettings:
    """None stands for what suits the tower."""

    feature_layers: Annotated[Sequence[PositiveInt], NonEmpty] | None = None
    r_list: Annotated[Sequence[Few], NonEmpty] = (1, 3, 5)
    interval: Annotated[Sequence[NonNegativeFloat], Length(2)] = (0.0, 0.3)
    k_list: Annotated[Sequence[PositiveInt], NonEmpty] = (1, 2, 3)
    divide_num: PositiveInt = 1
    divide_seed: NonNegativeInt = 42
    divide_by: Literal["defect", "none"] = "defect"
    mask_rule: Literal["half", "full", "any"] = "half"
    memory_mib: PositiveInt = 2048

    def __post_init__(self) -> None:
        even = [r for r in self.r_list if r % 2 == 0]
        if even:
            raise ValueError(f"r_list names {even[0]}: a neighbourhood has an odd number of patches per side")
        if self.interval[0] >= self.interval[1]:
            raise ValueError(f"interval is {list(self.interval)}: nothing lies between")
