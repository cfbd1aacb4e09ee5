"""The image columns of result rows, computed again from scores.csv: classes, means over them, seeds and data sets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adbench.data import catalogue
from adbench.engine.confidence import with_intervals
from adbench.engine.means import is_over_datasets, mean_rows
from adbench.engine.rows import MEAN, summarise_seeds
from adbench.engine.settings import Row
from adbench.metrics import ImageMetrics, summarise
from adbench.metrics.table import Protocol
from adbench.report.scores import Score

TOLERANCE = 1e-9
"""Sums differ in their last bits from machine to machine."""
_METRICS = ("image_auroc", "image_ap", "image_f1max")
_COUNTS = ("n_images", "n_anomalous")


def recomputed(rows: Sequence[Row], scores: Sequence[Score], intervals: Mapping[str, Any] | None) -> list[Row]:
    """`rows` with their image columns as `scores` have them; `intervals`: how the run made its own (None: it has none).

    Rows that the scores say nothing of keep what they have: see `unsupported`.
    """
    classes: dict[tuple[Any, ...], list[Score]] = {}
    for one in scores:
        classes.setdefault(_place(one), []).append(one)
    found = [{**row, **_of_class(row, classes[_place(row)])} if _place(row) in classes else dict(row) for row in rows]
    found = [{**row, **_of_mean(row, found)} if _is_mean_of_draw(row) else row for row in found]
    seeds = {_place(row): row for row in _over_seeds(found)}
    found = [{**row, **_image_part(seeds.get(_place(row), {}))} for row in found]
    single = [row for row in found if not is_over_datasets(row)]
    if len(single) < len(found):
        domains = {row["dataset"]: catalogue.get(row["dataset"]).domain for row in single}
        over = {_place(row): row for row in mean_rows(single, domains)}
        found = [{**row, **_image_part(over.get(_place(row), {}))} if is_over_datasets(row) else row for row in found]
    return with_intervals(found, scores, intervals["seed"]) if intervals else found


def differences(rows: Sequence[Row], again: Sequence[Row]) -> Iterator[str]:
    """A line for each image column whose value is not the same again."""
    for row, other in zip(rows, again, strict=True):
        for key in _image_part(row) | _image_part(other):
            then, now = row.get(key), other.get(key)
            if not _same(then, now):
                yield f"{_named(row)} {key}: {then} in results.json, {now} by scores.csv"


def unsupported(rows: Sequence[Row], scores: Sequence[Score]) -> Iterator[str]:
    """A line for each class and draw of which rows and scores do not both tell."""
    told = {_place(row): row for row in rows if _is_class(row)}
    scored = {_place(one): one for one in scores}
    yield from (f"{_named(row)}: scores.csv has no image of it" for place, row in told.items() if place not in scored)
    yield from (f"{_named(one)}: results.json has no row of it" for place, one in scored.items() if place not in told)


def n_values(rows: Sequence[Row]) -> int:
    """How many image columns the rows have."""
    return sum(len(_image_part(row)) for row in rows)


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["dataset"], row["class_name"], row.get("shots"), row.get("support_seed")


def _named(row: Mapping[str, Any]) -> str:
    draw = "" if row.get("support_seed") is None else f" (k={row['shots']}, seed {row['support_seed']})"
    return f"{row['dataset']} {row['class_name']}{draw}"


def _is_class(row: Row) -> bool:
    return MEAN not in (row["class_name"], row["support_seed"])


def _is_mean_of_draw(row: Row) -> bool:
    return row["class_name"] == MEAN and row["support_seed"] != MEAN and not is_over_datasets(row)


def _of_class(row: Row, scores: Sequence[Score]) -> dict[str, Any]:
    """Counts and image columns of a class; of labels held back the number of anomalous images is unknown."""
    labels = [one["label"] for one in scores]
    counts = {"n_images": len(scores), "n_anomalous": None if -1 in labels else sum(labels)}
    known = [one for one in scores if one["label"] >= 0 and one["score"] is not None]
    values = ImageMetrics().update([one["score"] for one in known], [one["label"] for one in known])
    found = values.compute(thresholds=True)
    if row["protocol"] == "official":
        found |= summarise({row["class_name"]: {key: found[key] for key in _METRICS}}, "official")[row["class_name"]]
    return {**counts, **{key: value for key, value in found.items() if key in row}}


def _of_mean(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    """Counts and image metrics of the mean over the classes of a data set and draw."""
    classes = [
        one
        for one in rows
        if _is_class(one)
        and (one["dataset"], one["support_seed"]) == (row["dataset"], row["support_seed"])
        and row["shots"] in (None, one["shots"])
    ]
    protocol: Protocol = "official" if row["protocol"] == "official" else "exact"
    metrics = {one["class_name"]: {key: one[key] for key in _METRICS if key in one} for one in classes}
    anomalous = [one["n_anomalous"] for one in classes]
    return {
        "n_images": sum(one["n_images"] for one in classes),
        "n_anomalous": None if None in anomalous else sum(anomalous),
        **summarise(metrics, protocol)[MEAN],
    }


def _over_seeds(rows: Sequence[Row]) -> list[Row]:
    """The means over support seeds of every data set."""
    single = [row for row in rows if row["support_seed"] != MEAN and not is_over_datasets(row)]
    names = dict.fromkeys(row["dataset"] for row in single)
    return [one for name in names for one in summarise_seeds([row for row in single if row["dataset"] == name])]


def _image_part(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key.startswith("image_") or key in _COUNTS}


def _same(then: Any, now: Any) -> bool:
    if not isinstance(then, float) or not isinstance(now, float):
        return bool(then == now)
    if not math.isfinite(then) or not math.isfinite(now):  # JSON knows no numbers that are not finite
        return not math.isfinite(then) and not math.isfinite(now)
    return abs(then - now) <= TOLERANCE * max(1.0, abs(then))
