"""An optimiser and its schedule, as settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from adbench.typed import NonNegativeFloat, NonNegativeInt, Range, check_fields

OptimizerName = Literal["adamw", "adam", "sgd"]
Schedule = Literal["constant", "poly", "cosine", "steps"]
Beta = Annotated[float, Range(0, 1, below=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSpec:
    """An optimiser over all of a method's learnable parameters, which may state groups with rates of their own.

    What each field is for, says configs/trainer/default.yaml; the names are those of torch.optim.
    """

    name: OptimizerName = "adamw"
    lr: NonNegativeFloat = 1e-3
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: NonNegativeFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.01
    momentum: NonNegativeFloat = 0.0
    schedule: Schedule = "constant"
    power: NonNegativeFloat = 0.9
    min_lr: NonNegativeFloat = 0.0
    milestones: Sequence[NonNegativeInt] = ()
    gamma: NonNegativeFloat = 0.1
    clip_norm: NonNegativeFloat | None = None

    def __post_init__(self) -> None:
        check_fields(self, "trainer.optimizer")

    def lr_at(self, step: int, n_steps: int, n_epochs: int = 1, *, factor: float = 1.0) -> float:
        """Learning rate of step number `step` (from 0) of `n_steps` in `n_epochs`, of parameters with this factor."""
        lr = self.lr * factor
        if self.schedule == "poly":
            lr *= (1 - step / n_steps) ** self.power
        if self.schedule == "cosine":
            epoch = step * n_epochs // n_steps
            return self.min_lr + (lr - self.min_lr) * (1 + math.cos(math.pi * epoch / n_epochs)) / 2
        if self.schedule == "steps":
            lr *= self.gamma ** sum(milestone <= step for milestone in self.milestones)
        return lr
