"""From the metrics of each class to the table of a data set: the mean over classes, by our protocol or the authors'."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

from adbench.errors import UserError

Protocol = Literal["exact", "official"]
MEAN = "mean"
# what AdaCLIP's tools/metrics.py sets to 0, all three together, where the labels of a class hold one value only
TRIPLES = {f"{level}_{name}" for level in ("image", "pixel") for name in ("auroc", "ap", "f1max")}


def summarise(rows: Mapping[str, Mapping[str, float]], protocol: Protocol = "exact") -> dict[str, dict[str, float]]:
    """Return the rows {class: {metric: value}} with a last row "mean", the plain mean over the classes.

    "exact": a value that is NaN (one label only: n/a) stays NaN and is left out of the mean.
    "official": AUROC, AP and max-F1 that are NaN print as 0 and count, as in AdaCLIP's table. (It has no AUPRO: that
    stays n/a where undefined.)
    """
    if protocol not in get_args(Protocol):
        raise UserError(f"unknown protocol {protocol!r}", hint=f"choose one of {', '.join(get_args(Protocol))}")
    if MEAN in rows:
        raise UserError(f"a class called {MEAN!r}", hint="rename it: that is the name of the table's last row")
    table = {
        name: {metric: _printed(metric, float(value), protocol) for metric, value in row.items()}
        for name, row in rows.items()
    }
    metrics = dict.fromkeys(metric for row in table.values() for metric in row)
    table[MEAN] = {metric: _mean([row[metric] for row in table.values() if metric in row]) for metric in metrics}
    return table


def _printed(metric: str, value: float, protocol: Protocol) -> float:
    return 0.0 if protocol == "official" and metric in TRIPLES and math.isnan(value) else value


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan
