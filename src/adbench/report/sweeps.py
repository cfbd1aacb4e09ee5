"""The summary of a sweep: a row per job and result, then mean and sample standard deviation over `seed`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.atomic import write_text
from adbench.engine.rows import MEAN, STD
from adbench.metrics.registry import is_metric
from adbench.report.csv_text import csv_text
from adbench.report.results import markdown_line
from adbench.report.table import percent

Record = Mapping[str, Any]
_SEED = "seed"


def write_sweep(folder: Path, records: Sequence[Record]) -> list[Path]:
    """Write sweep.csv (metrics in [0, 1]) and sweep.md (percent) of the jobs' records into `folder`; their paths.

    A record holds "swept" (key -> value as typed), "error" (None or a line) and "rows" (dictionaries with metrics).
    """
    rows = [*_rows(records), *_over_seeds(records)]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    shown = [key for key in keys if not key.endswith(STD)]
    lines = [markdown_line(shown), markdown_line(["---"] * len(shown))]
    lines += [markdown_line([_cell(key, row) for key in shown]) for row in rows]
    files = {"sweep.csv": csv_text(keys, rows), "sweep.md": "\n".join(lines) + "\n"}
    for name, content in files.items():
        write_text(folder / name, content)
    return [folder / name for name in files]


def _rows(records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    for record in records:
        for row in record["rows"] or [{}]:
            yield {**record["swept"], **row, "status": record["error"] or "finished"}


def _over_seeds(records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """For each setting of the other keys, and each result of such jobs: the metrics over its seeds, if several."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in _rows([record for record in records if record["rows"] and _SEED in record["swept"]]):
        key = tuple((name, value) for name, value in row.items() if name != _SEED and not _is_number(name, value))
        groups.setdefault(key, []).append(row)
    for group in groups.values():
        if len(group) < 2:
            continue
        row = {**group[0], _SEED: MEAN, "status": f"{MEAN} of {len(group)}"}
        for metric in [key for key, value in group[0].items() if _is_number(key, value)]:
            values = [of_seed.get(metric) for of_seed in group]
            known = None not in values
            row[metric] = statistics.fmean(values) if known else None  # type: ignore[arg-type]
            if is_metric(metric):
                row[metric + STD] = statistics.stdev(values) if known else None  # type: ignore[type-var]
        yield row


def _is_number(key: str, value: Any) -> bool:
    return is_metric(key) or isinstance(value, float)


def _cell(key: str, row: Mapping[str, Any]) -> str:
    value = row.get(key, "")
    if not is_metric(key) or value == "":
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    spread = row.get(key + STD)
    return percent(value) + ("" if spread is None else f" ± {percent(spread)}")
