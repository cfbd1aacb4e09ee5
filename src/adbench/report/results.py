"""results.json and its renderings results.csv and results.md: three views of the same rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.atomic import write_json, write_text
from adbench.engine.rows import STD, is_share
from adbench.engine.settings import Row
from adbench.errors import UserError
from adbench.metrics.registry import in_order, is_metric, is_threshold, shown
from adbench.report.csv_text import csv_text
from adbench.report.schema import checked_results
from adbench.report.table import Table, build_interval_table, build_table, condensed, is_mean
from adbench.structured import read_json

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_MOST_METRICS, _FURTHER_METRICS = 9, 5  # beside each other in a terminal; of the further ones, with longer headers
_HINT = "give the results of a finished `eval`"


def write_results(folder: Path, rows: Sequence[Row], provenance: Mapping[str, Any]) -> list[Path]:
    """Write results.json, results.csv and results.md into `folder`, each whole. Returns their paths."""
    paths = [folder / f"results.{ending}" for ending in ("json", "csv", "md")]
    write_json(paths[0], {"run": without_nan(dict(provenance)), "rows": without_nan(list(rows))})
    write_text(paths[1], to_csv(rows))
    write_text(paths[2], to_markdown(rows, provenance.get("intervals")))
    return paths


def read_results(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Provenance and rows of a results.json, or of the run folder that holds it; a metric that is null is NaN again.

    Raises UserError for a missing or damaged file, and for one whose rows are not those of an evaluation.
    """
    file = path / "results.json" if path.is_dir() else path
    if not file.exists():
        raise UserError("there are no readable results", where=str(file), hint="run `eval` first")
    content = read_json(file, hint=_HINT)
    try:
        run, rows = checked_results(content)
    except UserError as error:
        raise UserError(f"there are no readable results: {error}", where=str(file), hint=_HINT) from error
    return run, [{key: _with_nan(key, value) for key, value in row.items()} for row in rows]


def to_csv(rows: Sequence[Row]) -> str:
    """One line per row under the rows' own keys, full precision; empty where a value is undefined."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return csv_text(keys, rows)


def to_markdown(rows: Sequence[Row], intervals: Mapping[str, Any] | None = None) -> str:
    """A Markdown table, percent with one decimal, n/a where a metric is undefined; notes below.

    Where `intervals` says how they were made (`confidence.describe`), a second table of the image metrics with theirs.
    """
    text = _markdown(build_table(rows))
    if intervals:
        text += f"\n{about_intervals(intervals)}\n\n{_markdown(build_interval_table(rows))}"
    return text


def about_intervals(intervals: Mapping[str, Any]) -> str:
    """What stands above a table of intervals that were made so (`confidence.describe`)."""
    return (
        f"Image metrics with 95 % intervals over the test images: {intervals['resamples']} bootstrap draws, seed "
        f"{intervals['seed']}. They tell the chance of the images alone, not of training, seeds or support."
    )


def _markdown(table: Table) -> str:
    lines = [
        markdown_line(table.headers),
        markdown_line([":--" if key in ("method", "dataset", "class_name") else "--:" for key in table.keys]),
    ]
    for row, cells in zip(table.rows, table.lines, strict=True):
        printed = [escaped(cell) for cell in cells]
        lines.append(markdown_line([f"**{cell}**" if is_mean(row) and cell else cell for cell in printed]))
    if table.notes:
        lines += ["", *(escaped(f"* {note}") + "  " for note in table.notes)]
    return "\n".join(lines) + "\n"


def console_tables(rows: Sequence[Row]) -> list[RichTable]:
    """The table for a terminal; with more metrics than fit beside each other, one below the other, notes at the end."""
    metrics = in_order(key for row in rows for key in row)
    deviate = any(key.endswith(STD) for row in rows for key in row)  # a cell is twice as wide then
    if len(metrics) <= (_FURTHER_METRICS if deviate else _MOST_METRICS):
        return [console_table(rows)]
    usual = [key for key in metrics if key in shown()]
    further = [key for key in metrics if key not in usual]
    kinds = dict.fromkeys(key.partition("_")[0] for key in usual) if deviate else [""]
    begun = [[key for key in usual if key.startswith(kind)] for kind in kinds]
    parts = [*begun, *(further[start : start + _FURTHER_METRICS] for start in range(0, len(further), _FURTHER_METRICS))]
    return [console_table(rows, metrics=part, notes=part is parts[-1]) for part in parts]


def console_table(
    rows: Sequence[Row], *, title: str = "", metrics: Sequence[str] | None = None, notes: bool = True
) -> RichTable:
    """The same table for a terminal (rich), narrow: what all rows share moves into the title.

    Of several support seeds only mean and standard deviation are shown. `metrics`: those that are; None: all.
    """
    from rich import box
    from rich import table as rich_table
    from rich.text import Text

    rows = condensed(rows)
    table = build_table(rows)
    means_only = all(is_mean(row) for row in rows)
    shared = [key for key in ("method", "dataset") if len({row.get(key) for row in rows}) == 1]
    name = " on ".join(str(rows[0][key]) for key in shared)
    printed = rich_table.Table(
        title=Text(" · ".join(part for part in (title, name) if part)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    left_out = [*shared, "n_anomalous", *(("class_name", "n_images") if means_only else ())]
    if metrics is not None:
        left_out += [key for key in table.keys if is_metric(key) and key not in metrics]
    kept = [index for index, key in enumerate(table.keys) if key not in left_out]
    for index in kept:
        is_text = table.keys[index] in ("method", "dataset", "class_name")
        header = table.headers[index].replace(" ", "\n", 1)
        printed.add_column(Text(header), justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for row, cells in zip(table.rows, table.lines, strict=True):
        last = is_mean(row) and not means_only
        printed.add_row(*(Text(cells[index]) for index in kept), style="bold" if last else "", end_section=last)
    if table.notes and notes:
        printed.caption = Text("\n".join(f"* {note}" for note in table.notes))
        printed.caption_justify = "left"
    return printed


def markdown_line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Text that Markdown takes literally; underscores inside words are literal as they are."""
    return re.sub(r"([|*<`\\])", r"\\\1", text.replace("\n", " "))


def without_nan(value: Any) -> Any:
    """The value for JSON, which knows no numbers that are not finite: null in their place."""
    if isinstance(value, Mapping):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value  # thresholds may be infinite


def _with_nan(key: str, value: Any) -> Any:
    return math.nan if value is None and (is_threshold(key) or is_share(key)) else value
