"""Rows of a benchmark's means: over the data sets of each domain, and over all of them.

dataset "mean:DOMAIN" or "mean", class_name "mean", n_datasets. Every data set counts once, by its own mean over
classes, whatever its size. A metric is the mean over the data sets that define it. Data sets that the weights were
trained on are left out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from adbench.engine.rows import MEAN, summarise_seeds
from adbench.engine.settings import Row
from adbench.metrics.registry import in_order

OF_DOMAIN = f"{MEAN}:"
_OF_ALL = ("method", "backbone", "backbone_sha256", "weights", "support_source", "seed", "eval_seed", "protocol")


def mean_rows(rows: Sequence[Row], domains: Mapping[str, str]) -> list[Row]:
    """The means of `rows`, for each (K, seed) of support sets; `domains`: data set -> domain, in the table's order."""
    means: list[Row] = []
    for domain in [*dict.fromkeys(domains.values()), None]:
        names = [name for name in domains if domain in (None, domains[name])]
        label = MEAN if domain is None else OF_DOMAIN + domain
        means += _means(label, [row for row in rows if row["class_name"] == MEAN and row["dataset"] in names])
    return means


def is_over_datasets(row: Row) -> bool:
    """Whether `row` is a mean over data sets."""
    return row["dataset"] == MEAN or str(row["dataset"]).startswith(OF_DOMAIN)


def _means(label: str, rows: Sequence[Row]) -> list[Row]:
    """One row per (K, seed), then per K the mean and standard deviation over its seeds."""
    draws = dict.fromkeys((row["shots"], row["support_seed"]) for row in rows if row["support_seed"] != MEAN)
    means = []
    for shots, seed in draws:
        of_draw = [row for row in rows if (row["shots"], row["support_seed"]) == (shots, seed)]
        counted = [row for row in of_draw if row["zero_shot"] is not False]
        if counted:
            means.append(_mean(label, counted, [row["dataset"] for row in of_draw if row["zero_shot"] is False]))
    return means + summarise_seeds(means)


def _mean(label: str, rows: Sequence[Row], trained_on: Sequence[str]) -> Row:
    metrics, notes = {}, []
    for metric in in_order(key for row in rows for key in row):
        values = [row[metric] for row in rows if not math.isnan(row.get(metric, math.nan))]
        metrics[metric] = statistics.fmean(values) if values else math.nan
        if 0 < len(values) < len(rows):
            notes.append(f"{metric.partition('_')[0]} metrics: mean of {len(values)} of {len(rows)} data sets")
    if trained_on:
        notes.append(f"without {', '.join(trained_on)}: trained on")
    known = {row["zero_shot"] for row in rows}
    anomalous = [row["n_anomalous"] for row in rows]
    seconds = sum(row["seconds"] for row in rows)
    n_images = sum(row["n_images"] for row in rows)
    return {
        **{key: _shared(key, rows) for key in _OF_ALL if key in rows[0]},
        "dataset": label,
        "class_name": MEAN,
        "shots": rows[0]["shots"],
        "support_seed": rows[0]["support_seed"],
        "support_id": None,
        "n_datasets": len(rows),
        "n_images": n_images,
        "n_anomalous": None if None in anomalous else sum(anomalous),
        **metrics,
        "zero_shot": None if None in known else True,
        "selected_on_test": any(row["selected_on_test"] for row in rows),
        "notes": list(dict.fromkeys(notes)),
        "seconds": seconds,
        "images_per_second": n_images / seconds if seconds else math.nan,
    }


def _shared(key: str, rows: Sequence[Row]) -> object:
    """The value that all rows have, None where they differ."""
    values = [row[key] for row in rows]
    return values[0] if all(value == values[0] for value in values) else None
