"""Rows of a benchmark as a table of text, and as files: bench.json holds all, bench.md what the table shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.atomic import write_json, write_text
from adbench.bench.clock import PARTS

HEADERS = (
    *("method", "clip", "px", "batch", "precision", "ms/image", "x tower"),
    *("tower/s", "encode/s", "score/s", "step/s", "eval/s"),
    *(f"{part} %" for part in PARTS),
    *("host MiB", "GPU MiB"),
)
LEGEND = """\
ms/image: encode, relate and score of a batch already in memory; x tower: over a bare pass of open_clip's image tower on
it, in the same run. Then images per second of that tower, of encode, of score (- where it is no work), of a training
step on given features, and of the whole evaluation with decoding and metrics, of which % are shares (sentences are
known by then). Memory is the largest of evaluation and step. Time does not depend on weights, which may be random."""


def lines(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The cells of each row, as `HEADERS` says."""
    return [
        [
            row["method"],
            row["clip"],
            row["image_px"],
            str(row["batch_size"]),
            row["precision"],
            _figures(row["milliseconds"]),
            f"{row['times_tower']:.2f}",
            *(_figures(row.get(key)) for key in ("tower", "encode", "score", "step", "evaluate")),
            *(f"{100 * row[f'share_{part}']:.0f}" for part in PARTS),
            *(_largest(row, f"{place}_mib", f"step_{place}_mib") for place in ("host", "device")),
        ]
        for row in rows
    ]


def markdown(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The table in Markdown, under what it was measured with."""
    head = f"{facts['date']}, {facts['device']}, PyTorch {facts['torch']}, adbench {facts['adbench']}:"
    table = [HEADERS, ["---", "---", *["---:"] * (len(HEADERS) - 2)], *lines(rows)]
    return "\n".join(
        [head, f"`{facts['command']}`", "", *(f"| {' | '.join(line)} |" for line in table), "", LEGEND, ""]
    )


def write(folder: Path, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write bench.json and bench.md."""
    files = [folder / "bench.json", folder / "bench.md"]
    write_json(files[0], {"run": dict(facts), "rows": [dict(row) for row in rows]})
    write_text(files[1], markdown(facts, rows))
    return files


def _figures(value: float | None) -> str:
    """Three significant figures."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _largest(row: Mapping[str, Any], *keys: str) -> str:
    values = [row[key] for key in keys if row.get(key) is not None]
    return str(max(values)) if values else "-"
