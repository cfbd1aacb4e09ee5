"""Looks at validation data during training, and the selection of weights by them where it is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adbench.data.loading import has_masks
from adbench.engine.accumulate import accumulate
from adbench.engine.adapt import build_memory_banks, joined
from adbench.engine.borrowed import borrowed
from adbench.engine.evaluate import evaluate
from adbench.engine.pictures import Painter, Picture, Shortlist
from adbench.engine.progress import Reporter
from adbench.engine.rng import undisturbed
from adbench.engine.rows import MEAN
from adbench.engine.settings import EvalData, EvalSettings, Row, TrainSettings
from adbench.engine.train_logger import TrainLogger
from adbench.engine.zero_shot import pictures
from adbench.errors import UserError
from adbench.methods.base import Method
from adbench.metrics import registry


def check_selection(settings: TrainSettings, validation: Sequence[EvalData]) -> None:
    """Raise UserError where weights are to be selected, but by nothing or by an unknown metric."""
    if settings.select == "best_on_test" and not validation:
        raise UserError(
            "weights are to be selected by their results on validation data, but there are none",
            where="trainer.select",
            hint="give validation data, or use trainer.select=last",
        )
    registry.column(settings.select_metric, "trainer.select_metric")


def validation_rows(
    method: Method,
    validation: Sequence[EvalData],
    settings: TrainSettings,
    *,
    device: torch.device,
    reporter: Reporter,
) -> list[Row]:
    """Rows of all validation sets; the random streams of the training stay as they are."""
    with undisturbed(method):
        return [
            row
            for data in validation
            for row in evaluate(method, data, _eval_settings(settings), device=device, reporter=reporter)
        ]


def log_pictures(
    method: Method,
    validation: Sequence[EvalData],
    settings: TrainSettings,
    *,
    device: torch.device,
    journal: TrainLogger,
    step: int,
    painter: Painter,
) -> None:
    """A few heat maps of the validation data to TensorBoard."""
    with undisturbed(method):
        for data in validation:
            pictures = sample_pictures(method, data, _eval_settings(settings), settings.heat_maps, device=device)
            journal.pictures(step, pictures, painter)


def select_value(rows: Sequence[Row], metric: str) -> float:
    """What weights are selected by: the metric's mean over classes, averaged over the validation sets."""
    values = [row.get(metric, math.nan) for row in rows if row["class_name"] == MEAN]
    value = math.fsum(values) / len(values)
    if math.isnan(value):
        raise UserError(
            f"weights are to be selected by {metric}, which is n/a on the validation data",
            where="trainer.select_metric",
            hint="choose a metric that the validation data have (masks for pixel metrics), or trainer.select=last",
        )
    return value


def improves(value: float, best: float, metric: str) -> bool:
    """Whether `value` of the metric that weights are selected by is better than the `best` so far."""
    lower = registry.column(metric, "trainer.select_metric").metric.lower_is_better
    return value < best if lower else value > best


def selection_record(settings: TrainSettings, validation: Sequence[EvalData], best: dict[str, Any]) -> dict[str, Any]:
    """How the weights were selected, for their record."""
    return {
        "rule": settings.select,
        "metric": settings.select_metric,
        **best,
        "data": [
            {"name": data.name, "classes": list(data.classes), "images": pictures(data.samples)} for data in validation
        ],
    }


def snapshot(method: Method) -> dict[str, Tensor]:
    """A copy of the learned tensors on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in method.learnable_state().items()}


def _eval_settings(settings: TrainSettings) -> EvalSettings:
    """What validates: with the metric that weights are selected by, where it is a choice."""
    chosen = registry.column(settings.select_metric, "trainer.select_metric")
    return EvalSettings(
        batch_size=settings.batch_size,
        workers=settings.workers,
        seed=settings.seed,
        amp=settings.amp,
        metrics=(chosen.key,) if chosen.metric.is_choice else (),
    )


def sample_pictures(
    method: Method, data: EvalData, settings: EvalSettings, count: int, *, device: torch.device
) -> list[Picture]:
    """Pictures of `count` anomalous images, taken from the classes of `data` in turn: a look during training."""
    by_class = [[s for s in data.samples if s.class_name == name and s.label != 0] for name in data.classes]
    longest = max(len(samples) for samples in by_class)
    chosen = [samples[i] for i in range(longest) for samples in by_class if i < len(samples)][:count]
    shortlist = Shortlist(count, method)
    with borrowed(method):
        if data.supports and chosen:
            sets = list(data.supports.values())[-1]
            method.memory_bank = joined(
                build_memory_banks(method, [sets.get(name)], settings, device=device)[0] for name in data.classes
            )
        for name in dict.fromkeys(sample.class_name for sample in chosen):
            accumulate(
                method,
                [sample for sample in chosen if sample.class_name == name],
                settings,
                device=device,
                with_masks=has_masks(data.samples),
                metric_set=data.metric_set,
                shortlist=shortlist,
            )
    return sorted(shortlist.pictures(), key=lambda picture: (picture.class_name, picture.key))
