"""InCTRL's hyperparameters. What each is for, says configs/method/inctrl.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from adbench.methods.variants import Variant
from adbench.typed import Fraction, Length, NonEmpty, NonNegativeFloat, PositiveFloat, PositiveInt

Loss = Literal["focal", "bce"]
BY_VARIANT = {
    "final_divisor": (2.0, 1.0),
    "residual_scale": (0.5, 1.0),
    "image_loss": ("focal", "bce"),
    "final_loss": ("focal", "focal"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class InCtrlSettings:
    """None stands for the variant's choice."""

    variant: Variant = "official"
    batch_layout: Literal["corrected", "official"] = "corrected"
    out_layers: Annotated[Sequence[PositiveInt], NonEmpty] = (7, 9, 11)
    adapter_reduction: PositiveInt = 4
    head_hidden: Annotated[Sequence[PositiveInt], Length(2)] = (128, 64)
    batchnorm_eps: PositiveFloat = 1e-5
    batchnorm_momentum: Fraction = 0.1
    alpha: float = 1.0
    final_divisor: PositiveFloat | None = None
    residual_scale: float | None = None
    text_temperature: PositiveFloat = 100.0
    natural_prompts: bool = True
    image_loss: Loss | None = None
    final_loss: Loss | None = None
    focal_gamma: NonNegativeFloat = 2.0
    loss_applies_sigmoid: bool = True
