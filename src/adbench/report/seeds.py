"""Runs that differ in nothing but the seed of their training, as one: mean and sample standard deviation over them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.engine.rows import STD, is_share
from adbench.engine.settings import Row
from adbench.engine.weights import read_record
from adbench.errors import UserError
from adbench.metrics.registry import in_order, is_threshold
from adbench.report.comparison import Run

_SAME = (
    *("method", "backbone", "backbone_sha256", "trained_on", "dataset", "class_name"),
    *("shots", "support_seed", "support_id", "protocol", "n_images"),
)


@dataclass(frozen=True)
class FinishedRun(Run):
    """A finished evaluation with its folder and what was recorded of it."""

    folder: Path
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class SeedGroup(Run):
    """Runs that differ in nothing but the seed of their training, two or more; `rows` are their means."""

    members: Sequence[FinishedRun]


def over_seeds(runs: Sequence[FinishedRun]) -> list[Run]:
    """`runs` in their order, those that differ in nothing but the seed as one run at the place of the first."""
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    shown: list[Run] = []
    for group in groups.values():
        seeds = [run.rows[0].get("seed") for run in group]
        if len(group) > 1 and len(set(seeds)) == len(seeds):
            name = f"{group[0].rows[0]['method']} ({len(seeds)} seeds)"
            if name in [run.label for run in shown]:
                name = f"{group[0].label}, {len(seeds)} seeds"
            note = f"mean ± sample standard deviation over the seeds {', '.join(map(str, seeds))}"
            if _training(group[0]) is None:
                note += "; whether their trainings differ otherwise is unknown: the weights are not there"
            rows = [_mean(of_seeds, note) for of_seeds in zip(*(run.rows for run in group), strict=True)]
            shown.append(SeedGroup(name, rows, group))
        else:
            shown += group
    return shown


def _identity(run: FinishedRun) -> str:
    """The same for runs that differ in nothing but the seed."""
    rows = [[row.get(key) for key in _SAME] for row in run.rows]
    hyperparameters = [part.get("hyperparameters") for part in _parts(run)]
    return json.dumps([rows, hyperparameters, _training(run)], sort_keys=True, default=str)


def _parts(run: FinishedRun) -> Sequence[Mapping[str, Any]]:
    parts: Sequence[Mapping[str, Any]] = run.provenance.get("parts", [run.provenance])
    return parts


def _training(run: FinishedRun) -> list[Any] | None:
    """How the weights of each part were trained, but for the seed; None where that is not known any more."""
    trainings: list[Any] = []
    used = {row.get("weights") for row in run.rows}
    for part in _parts(run):
        place = part.get("checkpoint", "untrained")
        if place == "untrained":
            trainings.append(None)
            continue
        try:
            record = read_record(Path(place))
            if record is None or record.training is None or record.sha256 not in used:
                return None
        except UserError:
            return None
        settings = {key: value for key, value in record.training.items() if key != "seed"}
        trainings.append([settings, [data.get("fingerprint") for data in record.data or ()]])
    return trainings


def _mean(rows: Sequence[Row], note: str) -> Row:
    """The row of all seeds; what is not the same in all, and no metric, is left out."""
    mean = {key: value for key, value in rows[0].items() if all(row.get(key) == value for row in rows)}
    mean = {key: value for key, value in mean.items() if not (is_share(key) or is_threshold(key))}
    for key in in_order(rows[0]):
        values = [float(row.get(key, math.nan)) for row in rows]
        mean[key], mean[key + STD] = statistics.fmean(values), statistics.stdev(values)
    notes = dict.fromkeys(note for row in rows for note in row.get("notes", ()))
    return {**mean, "notes": [*notes, note]}
