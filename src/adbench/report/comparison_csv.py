"""A comparison of runs as CSV: a line per run, class and metric, and one per published figure beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from adbench.engine.rows import STD
from adbench.engine.settings import Row
from adbench.metrics.registry import in_order
from adbench.report.comparison import Comparison, Run
from adbench.report.csv_text import csv_text
from adbench.report.gains import Gains
from adbench.report.table import condensed

FIELDS = (
    *("run", "method", "dataset", "class_name", "shots", "trained_on", "backbone"),
    *("metric", "ours", "std", "to_first", "to_first_low", "to_first_high", "to_first_p"),
    *("published", "deviation", "difference", "kind", "paper", "setting", "source", "note"),
)
"""Values in [0, 1]. to_first: ours minus that of the first run, its 95 % interval and p (see `report.gains`)."""


def to_csv(runs: Sequence[Run], comparison: Comparison, gains: Sequence[Gains] = ()) -> str:
    """All lines under FIELDS; empty where a value is undefined. `gains`: per run, over the first one."""
    ours = [row for i, run in enumerate(runs) for row in _ours(run, runs[0], gains[i] if gains else Gains({}))]
    return csv_text(FIELDS, [*ours, *_published(comparison)])


def _ours(run: Run, first: Run, gains: Gains) -> Iterator[dict[str, Any]]:
    firsts = {_place(row): row for row in condensed(first.rows)}
    for row in condensed(run.rows):
        for metric in in_order(row):
            line = {"metric": metric, "ours": row[metric], "std": row.get(metric + STD)}
            place = _place(row)
            if run is not first and place not in gains.others and metric in (other := firsts.get(place, {})):
                line["to_first"] = row[metric] - other[metric]
            if gain := gains.by_place.get((*place, metric)):
                line |= {"to_first_low": gain.low, "to_first_high": gain.high, "to_first_p": gain.p}
            yield _facts(run, row) | line


def _published(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """The figures beside a run's; without a difference where the backbone is another."""
    for line in comparison.lines:
        for figure in line.published if line.kind == "published" else ():
            ours, published = line.row.get(figure.metric), round(figure.value / 100, 6)  # papers give percent
            compares = ours is not None and line.row.get("backbone") in (None, figure.backbone)
            told = {key: getattr(figure, key) for key in ("metric", "kind", "paper", "setting", "source", "note")}
            values = {
                "ours": ours,
                "published": published,
                "deviation": None if figure.deviation is None else round(figure.deviation / 100, 6),
                "difference": ours - published if compares and ours is not None else None,
            }
            yield _facts(line.run, line.row) | told | values


def _place(row: Row) -> tuple[str, str, int | None]:
    return row["dataset"], row["class_name"], row.get("shots")


def _facts(run: Run, row: Row) -> dict[str, Any]:
    facts = {key: row.get(key) for key in ("method", "dataset", "class_name", "shots", "backbone")}
    trained_on = row.get("trained_on")
    return facts | {"run": run.label, "trained_on": "?" if trained_on is None else "+".join(trained_on)}
