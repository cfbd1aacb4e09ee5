"""The evaluation loop of every method: class by class, streaming, one result row per class and one for their mean."""

from __future__ import annotations

import torch

from adbench.engine.pictures import Painter
from adbench.engine.progress import Reporter
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, Row
from adbench.engine.weights import WeightsRecord
from adbench.methods.base import Method


def evaluate(
    method: Method,
    data: EvalData,
    settings: EvalSettings,
    *,
    device: torch.device,
    record: WeightsRecord | None = None,
    reporter: Reporter | None = None,
    run: RunFolder | None = None,
    painter: Painter | None = None,
) -> list[Row]:
    """Score all samples of `data` and return one row per class, then the row "mean".

    `record` says what the weights were trained on (from `load_weights` or `train`; None: nothing was trained) and marks
    rows that are not zero-shot. Heat maps go to run.path/heatmaps/<data set>/, drawn by `painter`.
    """
    raise NotImplementedError
