"""Tables of report.html."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from adbench.engine.means import is_over_datasets
from adbench.engine.settings import Row
from adbench.metrics.registry import find, is_metric, title
from adbench.report.comparison import Comparison, Line, printed, shown
from adbench.report.page import Cell, Table
from adbench.report.results import about_intervals
from adbench.report.table import build_interval_table, build_table, is_mean

TEXTS = ("class_name", "dataset", "method")
_STARTS = (99.5, 99, 98, 95, *range(90, 0, -10), 0)  # where bars may begin, in percent
ABOUT_BARS = "Bars run from and to what the header says."


def result_table(rows: Sequence[Row], beside: Mapping[int, Sequence[Line]], by: str = "class") -> Table:
    """The table of `rows` of one data set by class, or of means by data set, best and second marked; `beside`: what is
    published of a row, by its id.
    """
    table = build_table(rows)
    hidden, is_strong = ({"method", "dataset"}, is_mean) if by == "class" else ({"class_name"}, is_over_datasets)
    if by != "class" and len({row["method"] for row in rows}) == 1:
        hidden.add("method")
    columns = [index for index, key in enumerate(table.keys) if key not in hidden]
    keys = [table.keys[index] for index in columns]
    rivals: dict[tuple[Any, ...], list[Row]] = {}  # classes of one draw of support; data sets do not compete
    for row in rows if by == "class" else ():
        if not is_strong(row):
            rivals.setdefault(_draw(row), []).append(row)
    marks = {
        (draw, key): ranked([row.get(key) for row in of_draw], key)
        for draw, of_draw in rivals.items()
        for key in keys
        if is_metric(key)
    }
    starts = {key: bar_start([row.get(key) for row in rows]) for key in keys if is_metric(key)}
    head = [
        Cell(table.headers[index], _text_class(key), small=f"{starts[key]:g}–100" if key in starts else "")
        for index, key in zip(columns, keys, strict=True)
    ]
    body: list[tuple[str, list[Cell]]] = []
    for row, texts in zip(table.rows, table.lines, strict=True):
        cells = []
        for index, key in zip(columns, keys, strict=True):
            mark = "" if is_strong(row) else marks.get((_draw(row), key), {}).get(row.get(key), "")
            cells.append(
                metric_cell(texts[index], row.get(key), mark, starts[key])
                if key in starts
                else Cell(texts[index], _text_class(key))
            )
        body.append(("mean" if is_strong(row) else "", cells))
        for line in beside.get(id(row), ()):
            names = {keys[0]: line.name}
            texts_beside = [shown(line, key) if is_metric(key) else names.get(key, "") for key in keys]
            cells = [Cell(text, _text_class(key)) for key, text in zip(keys, texts_beside, strict=True)]
            body.append(("difference" if line.kind == "difference" else "published", cells))
    legend = "Bold: the best class of a column; underlined: the second. " if any(marks.values()) else ""
    return Table(head, body, [f"* {note}" for note in table.notes], legend + ABOUT_BARS)


def metric_cell(text: str, value: float | None, mark: str, start: float) -> Cell:
    """A metric with its bar, which begins at `start` percent."""
    if value is None or math.isnan(value):
        return Cell(text)
    return Cell(text, f"metric {mark}".strip(), max(0.0, 100 * (100 * value - start) / (100 - start)))


def bar_start(values: Sequence[float | None]) -> float:
    """Where the bars of a column begin, in percent: at a round number below all values, so that differences show."""
    known = [100 * value for value in values if value is not None and not math.isnan(value)]
    return next((start for start in _STARTS if start <= min(known)), 0) if known and min(known) < max(known) else 0


def ranked(values: Sequence[float | None], key: str) -> dict[float | None, str]:
    """Which values of a metric are "best" and "second", where they differ."""
    known = {value for value in values if value is not None and not math.isnan(value)}
    column = find(key)
    order = sorted(known, reverse=column is None or not column.metric.lower_is_better)
    return dict(zip(order[:2], ("best", "second"), strict=True)) if len(order) > 1 else {}


def interval_table(rows: Sequence[Row], intervals: Mapping[str, Any]) -> Table:
    """The table of image metrics with their intervals."""
    table = build_interval_table(rows)
    shared = {key for key in ("method", "dataset") if len({row.get(key) for row in rows}) == 1}
    columns = [index for index, key in enumerate(table.keys) if key not in shared]
    head, *body = [
        [Cell(cells[index], _text_class(table.keys[index])) for index in columns]
        for cells in [table.headers, *table.lines]
    ]
    styles = ["mean" if is_mean(row) else "" for row in table.rows]
    notes = [f"* {note}" for note in table.notes]
    return Table(head, list(zip(styles, body, strict=True)), notes, about_intervals(intervals))


def published_table(comparison: Comparison) -> Table:
    """Results beside the published figures of the same setting."""
    heads = ["data", "class", "shots", "", *(title(key) for key in comparison.metrics)]
    body = [
        ("first" if line.kind == "ours" else line.kind, [Cell(text, "text" * (i < 4)) for i, text in enumerate(cells)])
        for line, cells in zip(comparison.lines, printed(comparison), strict=True)
    ]
    return Table([Cell(text, "text" * (i < 4)) for i, text in enumerate(heads)], body, comparison.notes)


def _draw(row: Row) -> tuple[Any, ...]:
    return row.get("shots"), row.get("support_seed")


def _text_class(key: str) -> str:
    return "text" if key in TEXTS else ""
