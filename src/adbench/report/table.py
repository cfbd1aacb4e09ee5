"""Result rows as a table of strings: the one place where a column gets its header and a value its print.

Percent with one decimal, n/a where a metric is undefined. Markdown, console and HTML all render this table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adbench.engine.means import is_over_datasets
from adbench.engine.rows import HIGH, LOW, MEAN, STD
from adbench.engine.settings import Row
from adbench.metrics.registry import in_order, is_metric, title

UNDEFINED = "n/a"

# header, key of the row; in the order of the table
FACTS = (
    ("method", "method"),
    ("data", "dataset"),
    ("class", "class_name"),
    ("shots", "shots"),
    ("support seed", "support_seed"),
    ("images", "n_images"),
    ("anomalous", "n_anomalous"),
)
MARK = "*"


@dataclass(frozen=True, slots=True)
class Table:
    """Headers with their keys, and per row the printed cells; `notes`: what the marked rows want said, once each."""

    headers: list[str]
    keys: list[str]
    lines: list[list[str]]
    rows: list[Row]
    notes: list[str]


def build_table(rows: Sequence[Row]) -> Table:
    """The table of `rows`. The columns of support sets and of some metrics appear where rows differ in, or have, them.

    A metric of several support seeds is printed as mean ± sample standard deviation.
    """
    metrics = in_order(key for row in rows for key in row)
    columns = [column for column in (*FACTS, *((title(key), key) for key in metrics)) if _present(column[1], rows)]
    keys = [key for _, key in columns]
    return Table(
        headers=[header for header, _ in columns],
        keys=keys,
        lines=[[cell(key, row) for key in keys] for row in rows],
        rows=list(rows),
        notes=_notes(rows),
    )


def build_interval_table(rows: Sequence[Row]) -> Table:
    """The image metrics with their 95 % intervals, of rows that have any; of several support seeds their mean."""
    rows = [row for row in condensed(rows) if has_intervals([row])]
    facts = [column for column in FACTS if column[1] not in ("n_images", "n_anomalous") and _present(column[1], rows)]
    metrics = in_order(key.removesuffix(LOW) for row in rows for key in row if key.endswith(LOW))
    columns = [*facts, *((title(key), key) for key in metrics)]
    keys = [key for _, key in columns]
    return Table(
        headers=[header for header, _ in columns],
        keys=keys,
        lines=[[_with_interval(key, row) if is_metric(key) else _text(row.get(key)) for key in keys] for row in rows],
        rows=rows,
        notes=_perfect(rows),
    )


def has_intervals(rows: Sequence[Row]) -> bool:
    """Whether any row has the interval of a metric: methods without image scores have none."""
    return any(key.endswith(LOW) for row in rows for key in row)


def _with_interval(metric: str, row: Row) -> str:
    bounds = [percent(row.get(metric + end)) for end in (LOW, HIGH)]
    return UNDEFINED if UNDEFINED in bounds else f"{percent(row[metric])} [{', '.join(bounds)}]"


def _perfect(rows: Sequence[Row]) -> list[str]:
    """What intervals of [100, 100] mean, where there are any."""
    places = []
    for row in rows:
        if not is_mean(row) and row.get("image_auroc") == 1.0 and row["n_anomalous"] is not None:
            n_normal = row["n_images"] - row["n_anomalous"]
            places.append(f"{row['dataset']} {row['class_name']} ({row['n_anomalous']} x {n_normal})")
    if not places:
        return []
    what = "no misordered pair of an anomalous and a normal image, so the AUROC's interval says nothing"
    return [f"{what}: {', '.join(places)}"]


def condensed(rows: Sequence[Row]) -> list[Row]:
    """`rows` without those of single support seeds where their mean and standard deviation is among them."""
    done = {(row["method"], row["dataset"], row.get("shots")) for row in rows if row.get("support_seed") == MEAN}
    return [
        row
        for row in rows
        if row.get("support_seed") == MEAN or (row["method"], row["dataset"], row.get("shots")) not in done
    ]


def percent(value: float | None) -> str:
    """A fraction in percent with one decimal; n/a for NaN and None."""
    return UNDEFINED if value is None or math.isnan(value) else f"{100 * value:.1f}"


def is_mean(row: Row) -> bool:
    """Whether `row` is the mean over classes."""
    return bool(row["class_name"] == MEAN)


def _present(key: str, rows: Sequence[Row]) -> bool:
    if key == "shots":
        return any(row.get("shots") for row in rows)
    if key == "support_seed":
        return len({row.get(key) for row in rows} - {None}) > 1
    return True


def cell(key: str, row: Row) -> str:
    """What stands in column `key` of `row`; of several support seeds mean ± sample standard deviation."""
    value: Any = row.get(key)
    if is_metric(key):
        spread = row.get(key + STD)
        defined = isinstance(spread, float) and not math.isnan(spread)
        return f"{percent(value)} ± {percent(spread)}" if defined else percent(value)
    return _text(value) + MARK if key == "class_name" and row.get("notes") else _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _notes(rows: Sequence[Row]) -> list[str]:
    """Notes of the single rows; those of the mean only where no class says the same."""
    notes: dict[str, list[str]] = {}
    for row in sorted(rows, key=is_mean):
        for note in row.get("notes") or ():
            said = notes.setdefault(note, [])
            if not (is_mean(row) and said):
                said.append(str(row["dataset"]) + ("" if is_over_datasets(row) else f" {row['class_name']}"))
    return [f"{note} ({', '.join(where[:3])}{', ...' if len(where) > 3 else ''})" for note, where in notes.items()]
