"""VisualAD's hyperparameters. What each is for, says configs/method/visualad.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from adbench.typed import Few, Fraction, NonEmpty, NonNegativeFloat, PositiveFloat, PositiveInt, Range, Sigma


@dataclass(frozen=True, kw_only=True, slots=True)
class VisualAdSettings:
    """None stands for what suits the tower."""

    features_list: Annotated[Sequence[PositiveInt], NonEmpty] | None = None
    num_anchors: Few = 4
    pos_encoding_rows: Annotated[int, Range(1, 1 << 16)] = 1536
    gaussian_sigma: Sigma = 4.0
    topk_ratio: Annotated[float, Range(0, 1, above=True)] = 0.01
    load_ln_post: bool = False
    dropout: Annotated[float, Range(0, 1, below=True)] = 0.1
    margin: Fraction = 0.5
    rest_lr_factor: NonNegativeFloat = 0.1
    token_grad_clip: PositiveFloat = 1.0
