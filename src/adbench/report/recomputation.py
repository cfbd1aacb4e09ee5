"""Result rows computed again: image columns from scores.csv, pixel columns where maps were kept, means from classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adbench.data import catalogue
from adbench.engine.confidence import objects_of, with_intervals
from adbench.engine.means import is_over_datasets, mean_rows
from adbench.engine.optional_metrics import OptionalMetrics
from adbench.engine.rows import MEAN, is_share, summarise_seeds
from adbench.engine.settings import Row
from adbench.metrics import ImageMetrics, summarise
from adbench.metrics.registry import find, in_order, is_threshold
from adbench.metrics.table import Protocol
from adbench.report.scores import Score

TOLERANCE = 1e-9
"""Sums differ in their last bits from machine to machine."""
_COUNTS = ("n_images", "n_anomalous")
Place = tuple[Any, ...]
"""dataset, class_name, shots, support_seed."""


def recomputed(
    rows: Sequence[Row],
    scores: Sequence[Score],
    pixels: Mapping[Place, Mapping[str, float]],
    intervals: Mapping[str, Any] | None,
) -> list[Row]:
    """`rows` as `scores`, and the `pixels` columns of classes that are known, have them.

    `intervals`: how the run made its own; None: it has none. Classes that neither tells of keep what they have (see
    `unsupported`), but every mean is computed again.
    """
    classes: dict[Place, list[Score]] = {}
    for score in scores:
        classes.setdefault(place_of(score), []).append(score)
    again = [{**row, **_of_class(row, classes, pixels)} if is_class(row) else dict(row) for row in rows]
    again = [{**row, **_of_mean(row, again)} if _is_mean_of_draw(row) else row for row in again]
    seeds = {place_of(row): row for row in _over_seeds(again)}
    again = [{**row, **_figures(seeds.get(place_of(row), {}))} for row in again]
    single = [row for row in again if not is_over_datasets(row)]
    if len(single) < len(again):
        domains = {row["dataset"]: catalogue.get(row["dataset"]).domain for row in single}
        over = {place_of(row): row for row in mean_rows(single, domains)}
        again = [{**row, **_figures(over.get(place_of(row), {}))} if is_over_datasets(row) else row for row in again]
    return with_intervals(again, scores, intervals["seed"]) if intervals else again


def differences(rows: Sequence[Row], again: Sequence[Row]) -> Iterator[str]:
    """A line for each figure that is not the same again."""
    for row, other in zip(rows, again, strict=True):
        for key in _figures(row) | _figures(other):
            then, now = row.get(key), other.get(key)
            if not _same(then, now):
                yield f"{_named(row)} {key}: {then} in results.json, {now} computed again"


def unsupported(rows: Sequence[Row], scores: Sequence[Score]) -> Iterator[str]:
    """A line for each class and draw of which rows and scores do not both tell."""
    told = {place_of(row): row for row in rows if is_class(row)}
    scored = {place_of(score): score for score in scores}
    yield from (f"{_named(row)}: scores.csv has no image of it" for place, row in told.items() if place not in scored)
    yield from (
        f"{_named(score)}: results.json has no row of it" for place, score in scored.items() if place not in told
    )


def n_values(rows: Sequence[Row]) -> int:
    """How many figures the rows have."""
    return sum(len(_figures(row)) for row in rows)


def place_of(row: Mapping[str, Any]) -> Place:
    """Which class and draw of support sets a row, or a score, is of."""
    return row["dataset"], row["class_name"], row.get("shots"), row.get("support_seed")


def _named(row: Mapping[str, Any]) -> str:
    draw = "" if row.get("support_seed") is None else f" (k={row['shots']}, seed {row['support_seed']})"
    return f"{row['dataset']} {row['class_name']}{draw}"


def is_class(row: Row) -> bool:
    """Whether a row is of one class and one draw, and no mean."""
    return MEAN not in (row["class_name"], row["support_seed"])


def _is_mean_of_draw(row: Row) -> bool:
    return row["class_name"] == MEAN and row["support_seed"] != MEAN and not is_over_datasets(row)


def _of_class(
    row: Row, scores: Mapping[Place, Sequence[Score]], pixels: Mapping[Place, Mapping[str, float]]
) -> dict[str, Any]:
    """Counts and metrics of a class; of labels held back the number of anomalous images is unknown."""
    counts: dict[str, Any] = {}
    values = dict(pixels.get(place_of(row), {}))
    if images := scores.get(place_of(row)):
        labels = [image["label"] for image in images]
        counts = {"n_images": len(images), "n_anomalous": None if -1 in labels else sum(labels)}
        known = [image for image in images if image["label"] >= 0 and image["score"] is not None]
        metrics = ImageMetrics().update([image["score"] for image in known], [image["label"] for image in known])
        values |= {**metrics.compute(thresholds=True), **_optional(row, metrics, known)}
    printed = summarise({row["class_name"]: values}, _protocol(row))[row["class_name"]]  # zeros, of some protocols
    return {**counts, **{key: value for key, value in printed.items() if key in row}}


def _protocol(row: Row) -> Protocol:
    return "official" if row["protocol"] == "official" else "exact"


def optional_metrics(row: Row) -> OptionalMetrics:
    """What measures the columns of a row that modules of `metrics` bring along, with the thresholds that it holds."""
    columns = [column for key in row if (column := find(key)) is not None]
    rules = {(column.metric.level, column.parameter) for column in columns if isinstance(column.parameter, str)}
    thresholds = {(level, rule): float(row.get(f"{level}_{rule}", math.nan)) for level, rule in rules}
    return OptionalMetrics(columns, thresholds, probabilities=True, memory_limit=4 << 30)


def _optional(row: Row, images: ImageMetrics, scores: Sequence[Score]) -> dict[str, float]:
    """The columns of a class that follow from scores and labels; what is undefined stays so."""
    objects = objects_of(row["dataset"], [image["path"] for image in scores])
    values, _ = optional_metrics(row).of_images(images, objects)
    return {key: value for key, value in values.items() if _is_number(row[key])}


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isnan(value)


def _of_mean(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    """Counts and metrics of the mean over the classes of a data set and draw."""
    classes = [
        other
        for other in rows
        if is_class(other)
        and (other["dataset"], other["support_seed"]) == (row["dataset"], row["support_seed"])
        and row["shots"] in (None, other["shots"])
    ]
    metrics = {of_class["class_name"]: {key: of_class[key] for key in in_order(of_class)} for of_class in classes}
    anomalous = [of_class["n_anomalous"] for of_class in classes]
    return {
        "n_images": sum(of_class["n_images"] for of_class in classes),
        "n_anomalous": None if None in anomalous else sum(anomalous),
        **summarise(metrics, _protocol(row))[MEAN],
    }


def _over_seeds(rows: Sequence[Row]) -> list[Row]:
    """The means over support seeds of every data set."""
    single = [row for row in rows if row["support_seed"] != MEAN and not is_over_datasets(row)]
    names = dict.fromkeys(row["dataset"] for row in single)
    return [over for name in names for over in summarise_seeds([row for row in single if row["dataset"] == name])]


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if is_share(key) or is_threshold(key) or key in _COUNTS}


def _same(then: Any, now: Any) -> bool:
    if not isinstance(then, float) or not isinstance(now, float):
        return bool(then == now)
    if not math.isfinite(then) or not math.isfinite(now):  # JSON knows no numbers that are not finite
        return not math.isfinite(then) and not math.isfinite(now)
    return abs(then - now) <= TOLERANCE * max(1.0, abs(then))
