"""What a training writes down as it goes: the loss curve (history.jsonl) and TensorBoard events."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from adbench.atomic import naming, write_text
from adbench.engine import ranks
from adbench.engine.checkpoint import TrainState
from adbench.engine.pictures import Painter, Picture
from adbench.engine.progress import duration
from adbench.engine.rows import MEAN
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import Row, TrainSettings
from adbench.metrics.registry import in_order, title


class TrainLogger:
    """The loss curve and the TensorBoard events of a run, from `state` on, written by rank 0.

    What a killed run has written beyond is dropped: it will be written again. Epochs are counted through all stages.

    stage  number of the stage that is learned, from 1; None where there are none
    """

    def __init__(self, run: RunFolder, state: TrainState) -> None:
        self._place = run.path
        self.stage: int | None = None
        self._writes = ranks.is_first()
        if not self._writes:
            return
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        points = [
            point
            for point in read_history(run.history_path)
            if (point["step"] <= state.step if point["kind"] == "step" else point["epoch"] <= state.epochs)
        ]
        write_text(run.history_path, "".join(json.dumps(point) + "\n" for point in points))
        self._history = run.history_path.open("a", encoding="utf-8")
        with naming(run.tensorboard_dir):
            self._writer = SummaryWriter(str(run.tensorboard_dir), purge_step=state.step + 1)

    def __enter__(self) -> TrainLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._writes:
            return
        # TensorBoard writes in a thread: a full disk comes out here, or at the next point.
        with contextlib.ExitStack() as stack:
            stack.enter_context(naming(self._place))
            stack.callback(self._history.close)
            stack.callback(self._writer.close)

    def step(self, step: int, epoch: int, terms: Mapping[str, float], facts: Mapping[str, float]) -> None:
        """A point of the loss curve: mean loss terms since the last point, and facts such as the learning rate."""
        self._note({"kind": "step", "step": step, "epoch": epoch, **terms, **facts})
        scalars = {f"step/{name}": value for name, value in terms.items()}
        self._draw(scalars | {f"train/{name}": value for name, value in facts.items()}, step)

    def epoch(self, step: int, epoch: int, terms: Mapping[str, float]) -> None:
        """Mean loss terms of a whole epoch."""
        self._note({"kind": "epoch", "step": step, "epoch": epoch, **terms})
        self._draw({f"epoch/{name}": value for name, value in terms.items()}, step, flush=True)

    def validation(self, step: int, epoch: int, rows: Sequence[Row]) -> None:
        """Metrics of a validation, per class and mean; undefined ones are left out."""
        for row in rows:
            defined = {metric: row[metric] for metric in in_order(row) if not math.isnan(row[metric])}
            if row["class_name"] == "mean":
                self._note({"kind": "validation", "step": step, "epoch": epoch, "dataset": row["dataset"], **defined})
            tag = f"{row['dataset']}/{row['class_name']}"
            self._draw({f"{tag}/{metric}": value for metric, value in defined.items()}, step, flush=True)

    def pictures(self, step: int, pictures: Sequence[Picture], painter: Painter) -> None:
        """Heat maps as TensorBoard images."""
        if not self._writes:
            return
        with naming(self._place):
            for picture in pictures:
                panel = np.asarray(painter(picture).convert("RGB"))
                self._writer.add_image(f"{picture.class_name}/{picture.key}", panel, step, dataformats="HWC")
            self._writer.flush()

    def _draw(self, scalars: Mapping[str, float], step: int, *, flush: bool = False) -> None:
        if not self._writes:
            return
        with naming(self._place):
            for tag, value in scalars.items():
                self._writer.add_scalar(tag, value, step)
            if flush:
                self._writer.flush()

    def _note(self, point: Mapping[str, Any]) -> None:
        if not self._writes:
            return
        with naming(self._place):
            stage = {} if self.stage is None else {"stage": self.stage}
            self._history.write(json.dumps({**point, **stage}) + "\n")
            self._history.flush()


def epoch_line(
    epoch: int,
    settings: TrainSettings,
    losses: Mapping[str, float],
    rows: Sequence[Row],
    seconds: float,
    seconds_left: float | None,
    stage: str = "",
) -> str:
    """What an epoch has come to in one line: its mean loss, validation, time, and how long the others will take.

    Of the validation `rows` the means, by the first image and the first pixel metric and what weights are selected by.
    """
    parts = [f"{stage} epoch {epoch}/{settings.epochs}".strip(), f"mean loss {losses['loss']:.4g}"]
    for row in rows:
        if row["class_name"] == MEAN:
            metrics = in_order(row)
            first = {metric.partition("_")[0]: metric for metric in reversed(metrics)}
            chosen = {settings.select_metric} if settings.select != "last" else set()
            shown = [metric for metric in metrics if metric in {*first.values(), *chosen}]
            values = [f"{title(metric)} {100 * row[metric]:.1f}" for metric in shown if not math.isnan(row[metric])]
            parts.append(f"{row['dataset']}: {', '.join(values) or 'n/a'}")
    parts.append(f"{seconds:.1f} s" if seconds < 60 else duration(seconds))
    if seconds_left:
        parts.append(f"{duration(seconds_left)} left")
    return "  ".join(parts)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The points of a loss curve. A line that is damaged, or was left unfinished, costs only itself."""
    if not path.exists():
        return []
    points = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            point = json.loads(line)
            if _is_point(point):
                points.append(point)
    return points


def _is_point(point: Any) -> bool:
    if not isinstance(point, dict) or point.get("kind") not in ("step", "epoch", "validation"):
        return False
    counts = [point.get("step"), point.get("epoch")]
    values = [value for key, value in point.items() if key not in ("kind", "dataset")]
    has_loss = point["kind"] == "validation" or "loss" in point
    return (
        has_loss
        and all(type(value) is int for value in counts)
        and all(type(value) in (int, float) for value in values)
    )
