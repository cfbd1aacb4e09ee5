"""The training loop of every trained method: frozen features, the method's own loss, one optimiser step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adbench.engine.pictures import Painter
from adbench.engine.progress import Reporter
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, TrainData, TrainSettings
from adbench.engine.weights import WeightsRecord
from adbench.methods.base import Method


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What training came to. `already_finished`: the folder held finished weights, nothing was trained."""

    record: WeightsRecord
    already_finished: bool
    steps: int
    seconds: float
    images_per_second: float


def train(
    method: Method,
    data: Sequence[TrainData],
    settings: TrainSettings,
    run: RunFolder,
    *,
    device: torch.device,
    validation: Sequence[EvalData] = (),
    resume: bool = True,
    reporter: Reporter | None = None,
    painter: Painter | None = None,
) -> TrainResult:
    """Train `method` in place and leave weights.safetensors and weights.json in `run`.

    A folder with a checkpoint of the same training goes on from there, to the same weights (to the bit on CPU) as if it
    had never stopped; a finished one is loaded and not trained again. `resume=False` starts anew and drops both.
    Raises UserError for a checkpoint of other settings or data, for a loss that is not finite (the last good checkpoint
    stays), for a method that is not trained, and for a precision that the device lacks.
    """
    raise NotImplementedError
