"""Tables of report.html."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from adbench.engine.means import is_over_datasets
from adbench.engine.settings import Row
from adbench.metrics.registry import is_metric, title
from adbench.report.comparison import Run, compare, printed
from adbench.report.results import about_intervals
from adbench.report.table import build_interval_table, build_table, is_mean

TEXTS = ("class_name", "dataset", "method")


def result_table(rows: Sequence[Row], by: str = "class") -> str:
    """The table of `rows` of one data set by class, the best marked, or of means by data set."""
    table = build_table(rows)
    if by == "class":
        hidden, strong = {"method", "dataset"}, is_mean
    else:
        hidden, strong = {"class_name"}, is_over_datasets
        if len({row["method"] for row in rows}) == 1:
            hidden.add("method")
    shown = [index for index, key in enumerate(table.keys) if key not in hidden]
    best = _best([row for row in rows if not strong(row)]) if by == "class" else {}

    def cell(index: int, row: Row, text: str) -> str:
        key = table.keys[index]
        value = row.get(key)
        if key in TEXTS or not is_metric(key) or value is None or math.isnan(value):
            return f"<td{_text_class(key)}>{escape(text)}</td>"
        style = "metric best" if not strong(row) and value == best.get(key) else "metric"
        return f'<td class="{style}" style="--share:{100 * value:.1f}%">{escape(text)}</td>'

    head = "".join(f"<th{_text_class(table.keys[index])}>{escape(table.headers[index])}</th>" for index in shown)
    body = [
        f"<tr{' class=mean' if strong(row) else ''}>{''.join(cell(index, row, cells[index]) for index in shown)}</tr>"
        for row, cells in zip(table.rows, table.lines, strict=True)
    ]
    return _table(f"<tr>{head}</tr>", body, [f"* {note}" for note in table.notes])


def interval_table(rows: Sequence[Row], intervals: Mapping[str, Any]) -> str:
    """The table of image metrics with their intervals."""
    table = build_interval_table(rows)
    shared = {key for key in ("method", "dataset") if len({row.get(key) for row in rows}) == 1}
    head, *body = [
        "".join(
            f"<{tag}{_text_class(key)}>{escape(cell)}</{tag}>"
            for key, cell in zip(table.keys, cells, strict=True)
            if key not in shared
        )
        for tag, cells in [("th", table.headers), *(("td", cells) for cells in table.lines)]
    ]
    shown = _table(f"<tr>{head}</tr>", [f"<tr>{line}</tr>" for line in body], [f"* {note}" for note in table.notes])
    return f"<p class=faint>{escape(about_intervals(intervals))}</p>{shown}"


def published_table(rows: Sequence[Row]) -> str:
    """The results beside the published figures of the same setting; empty where none are known."""
    comparison = compare([Run("this run", rows)])
    if all(line.kind == "ours" for line in comparison.lines):
        return ""
    heads = ["data", "class", "shots", "", *(title(key) for key in comparison.metrics)]
    head = "".join(f"<th{' class=text' if index < 4 else ''}>{escape(text)}</th>" for index, text in enumerate(heads))
    body = [
        "<tr>"
        + "".join(f"<td{' class=text' if index < 4 else ''}>{escape(text)}</td>" for index, text in enumerate(cells))
        + "</tr>"
        for cells in printed(comparison)
    ]
    return _table(f"<tr>{head}</tr>", body, comparison.notes)


def _best(rows: Sequence[Row]) -> dict[str, float]:
    """The largest value of each metric, where rows differ in it."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            if is_metric(key) and value is not None and not math.isnan(value):
                values.setdefault(key, []).append(value)
    return {key: max(numbers) for key, numbers in values.items() if min(numbers) < max(numbers)}


def _table(head: str, body: Sequence[str], notes: Sequence[str]) -> str:
    below = "".join(f"<p class=note>{escape(note)}</p>" for note in notes)
    return f"<div class=scroll><table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table></div>{below}"


def _text_class(key: str) -> str:
    return " class=text" if key in TEXTS else ""
