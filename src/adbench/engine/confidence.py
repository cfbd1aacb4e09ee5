"""95 % intervals of a run's image metrics: bootstrap over the test images (see `metrics.intervals`), for result rows.

image_auroc_low, image_auroc_high, ...   of classes, of means over classes and over data sets (which are drawn
independently), and of means over support seeds (all of them in the same draws of images).

The draws of a class follow from the seed, the data set and the class alone: other classes, other methods and the order
of images change nothing. Images of one part or strip are drawn together where the data set says so (`unit_of`).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from adbench.data import catalogue
from adbench.engine.means import OF_DOMAIN, is_over_datasets
from adbench.engine.rows import HIGH, LOW, MEAN
from adbench.engine.settings import Row
from adbench.metrics.intervals import METRICS, RESAMPLES, bootstrap, interval
from adbench.metrics.ranking import Reals

_Column = TypeVar("_Column", bound=Hashable)
Score = Mapping[str, Any]
"""A record per image and draw, as `engine.evaluate` appends them and scores.csv holds them."""
Draws = dict[str, Reals]
"""Metric -> its values over the draws of images, (RESAMPLES,)."""
_OfClasses = Mapping[tuple[str, str], Mapping[tuple[Any, Any], Draws]]


def describe(seed: int) -> dict[str, Any]:
    """How the intervals of a run were made, for its provenance."""
    return {"level": 0.95, "resamples": RESAMPLES, "seed": seed, "over": "test images, stratified by label"}


def with_intervals(rows: Sequence[Row], scores: Iterable[Score], seed: int) -> list[Row]:
    """`rows` with the bounds of every image metric that they have; NaN where undefined."""
    draws = class_draws(scores, seed)
    return [{**row, **_bounds(row, rows, draws)} for row in rows]


def class_draws(scores: Iterable[Score], seed: int) -> dict[tuple[str, str], dict[tuple[Any, Any], Draws]]:
    """(dataset, class_name) -> (shots, support_seed) -> the metrics over the draws; without classes without scores."""
    tables: dict[tuple[str, str], dict[tuple[Any, Any], list[Score]]] = {}
    for row in scores:
        by_support = tables.setdefault((row["dataset"], row["class_name"]), {})
        by_support.setdefault((row["shots"], row["support_seed"]), []).append(row)
    return {place: draws for place, columns in tables.items() if (draws := resampled(columns, *place, seed))}


def resampled(
    columns: Mapping[_Column, Sequence[Score]], dataset: str, class_name: str, seed: int
) -> dict[_Column, Draws]:
    """The metrics over draws of the images of a class, for each of `columns`, which score the same images.

    Images without a known label or a score are left out; nothing where none is left.
    """
    scored = {
        name: {row["path"]: row for row in rows if row["label"] >= 0 and row["score"] is not None}
        for name, rows in columns.items()
    }
    images = sorted(next(iter(scored.values())))
    if not images:
        return {}
    labels = [next(iter(scored.values()))[path]["label"] for path in images]
    unit = unit_of(dataset)
    values = bootstrap(
        [[by_path[path]["score"] for path in images] for by_path in scored.values()],
        labels,
        stream(seed, dataset, class_name),
        clusters=None if unit is None else [unit(path) for path in images],
    )
    return {name: {metric: values[metric][row] for metric in METRICS} for row, name in enumerate(scored)}


def unit_of(dataset: str) -> Callable[[str], str] | None:
    """What an image of a data set shows a part of, by its key; None: every image is independent."""
    return catalogue.get(dataset).unit_of if dataset in catalogue.names() else None


def objects_of(dataset: str, paths: Sequence[str]) -> list[str] | None:
    """What each of these images of a data set shows; None: every image shows something else."""
    unit = unit_of(dataset.partition(":")[0])
    return None if unit is None else [unit(path) for path in paths]


def stream(seed: int, dataset: str, class_name: str) -> np.random.Generator:
    """The random stream of a class."""
    text = f"{dataset}\0{class_name}".encode("utf-8", "surrogateescape")
    return np.random.default_rng([seed, *hashlib.sha256(text).digest()])


def mean_draws(values: Sequence[Reals], *, zeros: bool = False) -> Reals:
    """The mean over what is defined, draw by draw; with `zeros` what is undefined in every draw counts as 0."""
    counted = [np.zeros_like(draws) if zeros and np.isnan(draws).all() else draws for draws in values]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a draw in which nothing is defined
        return np.asarray(np.nanmean(counted, axis=0), np.float64)


def _bounds(row: Row, rows: Sequence[Row], draws: _OfClasses) -> dict[str, float]:
    """The bounds of the row's image metrics; none where no image of it has a score."""
    bounds: dict[str, float] = {}
    for metric in (metric for metric in METRICS if metric in row):
        if is_over_datasets(row):
            values = [_of_dataset(other, metric, draws) for other in rows if _counts_in(row, other)]
            over = [of_set for of_set in values if of_set is not None]
            values_of_row = mean_draws(over) if over else None
        else:
            values_of_row = _of_dataset(row, metric, draws)
        if values_of_row is not None:
            low, high = interval(values_of_row)
            bounds |= {metric + LOW: low, metric + HIGH: high}
    return bounds


def _of_dataset(row: Row, metric: str, draws: _OfClasses) -> Reals | None:
    """A metric of a class, or of the mean over classes, over the draws; None without scores."""
    places = [place for place in draws if place[0] == row["dataset"] and row["class_name"] in (MEAN, place[1])]
    if not places:
        return None
    by_class = [mean_draws([draw[metric] for draw in _supports(row, draws[place])]) for place in places]
    return mean_draws(by_class, zeros=row["protocol"] == "official" and row["class_name"] == MEAN)


def _supports(row: Row, by_support: Mapping[tuple[Any, Any], Draws]) -> list[Draws]:
    """What belongs to the row's K and seed; of a mean over classes of unknown or several K that of its seed."""
    return [
        draws
        for (shots, seed), draws in by_support.items()
        if row["shots"] in (None, shots) and row["support_seed"] in (MEAN, seed)
    ]


def _counts_in(over: Row, row: Row) -> bool:
    """Whether `row` is the mean of a data set that counts in `over`, a mean over data sets (see `means`)."""
    return (
        row["class_name"] == MEAN
        and not is_over_datasets(row)
        and (row["shots"], row["support_seed"]) == (over["shots"], over["support_seed"])
        and row["zero_shot"] is not False
        and over["dataset"] in (MEAN, OF_DOMAIN + catalogue.get(row["dataset"]).domain)
    )
