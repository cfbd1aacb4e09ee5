"""What a training writes down as it goes: the loss curve (history.jsonl) and TensorBoard events."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from adbench.atomic import write_text
from adbench.engine.pictures import Painter, Picture
from adbench.engine.rows import METRICS, OPTIONAL_METRICS
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import Row


class Journal:
    """The loss curve and the TensorBoard events of a run, from `step` on: later entries of a killed run are dropped."""

    def __init__(self, run: RunFolder, *, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        kept = [point for point in read_history(run.history_path) if point["step"] <= step]
        write_text(run.history_path, "".join(json.dumps(point) + "\n" for point in kept))
        self._history = run.history_path.open("a", encoding="utf-8")
        self._writer = SummaryWriter(str(run.tensorboard_dir), purge_step=step + 1)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._history.close()
        self._writer.close()

    def step(self, step: int, epoch: int, terms: Mapping[str, float], facts: Mapping[str, float]) -> None:
        """A point of the loss curve: mean loss terms since the last point, and facts such as the learning rate."""
        self._note({"kind": "step", "step": step, "epoch": epoch, **terms, **facts})
        for name, value in terms.items():
            self._writer.add_scalar(f"step/{name}", value, step)
        for name, value in facts.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def epoch(self, step: int, epoch: int, terms: Mapping[str, float]) -> None:
        """Mean loss terms of a whole epoch."""
        self._note({"kind": "epoch", "step": step, "epoch": epoch, **terms})
        for name, value in terms.items():
            self._writer.add_scalar(f"epoch/{name}", value, step)
        self._writer.flush()

    def validation(self, step: int, epoch: int, rows: Sequence[Row]) -> None:
        """Metrics of a validation, per class and mean; undefined ones are left out."""
        for row in rows:
            defined = {
                metric: row[metric]
                for metric in METRICS + OPTIONAL_METRICS
                if metric in row and not math.isnan(row[metric])
            }
            if row["class_name"] == "mean":
                self._note({"kind": "validation", "step": step, "epoch": epoch, "dataset": row["dataset"], **defined})
            for metric, value in defined.items():
                self._writer.add_scalar(f"{row['dataset']}/{row['class_name']}/{metric}", value, step)
        self._writer.flush()

    def pictures(self, step: int, pictures: Sequence[Picture], painter: Painter) -> None:
        """Heat maps as TensorBoard images."""
        for picture in pictures:
            panel = np.asarray(painter(picture).convert("RGB"))
            self._writer.add_image(f"{picture.class_name}/{picture.key}", panel, step, dataformats="HWC")
        self._writer.flush()

    def _note(self, point: Mapping[str, Any]) -> None:
        self._history.write(json.dumps(point) + "\n")
        self._history.flush()


def read_history(path: Path) -> list[dict[str, Any]]:
    """The points of a loss curve; a last line that a killed run left unfinished is skipped."""
    if not path.exists():
        return []
    points = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            points.append(json.loads(line))
        except ValueError:
            break
    return points
