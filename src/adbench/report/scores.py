"""scores.csv: a row per image and draw of support sets, from which every image metric of results.json follows.

A float is written as Python prints it, so it is read back to the bit. Empty: the method gives no score, or no map; K of
the memory that came with the weights is unknown; the draw has no seed.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.atomic import write_bytes
from adbench.errors import UserError
from adbench.report.csv_text import checked_rows, csv_text, unguarded

Score = dict[str, Any]
"""A row of scores.csv, keyed by FIELDS."""

FILE = "scores.csv"
FIELDS = ("dataset", "class_name", "path", "defect", "label", "score", "map_max", "shots", "support_seed")
KEY = ("dataset", "class_name", "path", "shots", "support_seed")
"""What tells the rows of a file apart."""


def write_scores(folder: Path, scores: Sequence[Mapping[str, Any]]) -> Path:
    """Write scores.csv into `folder`, whole. File names that are no UTF-8 keep their bytes."""
    write_bytes(folder / FILE, csv_text(FIELDS, scores).encode("utf-8", "surrogateescape"))
    return folder / FILE


def read_scores(path: Path) -> list[Score]:
    """The rows of a scores.csv, or of the run folder that holds it, as they were written.

    Raises UserError for a missing file, and naming the line of one that no evaluation has written.
    """
    file = path / FILE if path.is_dir() else path
    hint = "give the folder of a finished `eval`; runs of earlier versions have no scores.csv: evaluate again"
    if not file.is_file():
        raise UserError("there are no scores of single images", where=str(file), hint=hint)
    lines = csv.reader(io.StringIO(file.read_bytes().decode("utf-8", "surrogateescape"), newline=""), strict=True)
    scores: dict[tuple[Any, ...], Score] = {}
    try:
        for cells in checked_rows(lines, FIELDS):
            row = {key: _READ[key](cell) for key, cell in zip(FIELDS, cells, strict=True)}
            if scores.setdefault(key_of(row), row) is not row:
                raise ValueError("the image is there twice")
    except (ValueError, csv.Error) as error:
        raise UserError(f"scores.csv is damaged: {error}", where=f"{file}:{lines.line_num}", hint=hint) from error
    return list(scores.values())


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells an image and draw apart."""
    return tuple(row[key] for key in KEY)


def _label(cell: str) -> int:
    if cell not in ("0", "1", "-1"):
        raise ValueError(f"label is {cell!r:.60}")
    return int(cell)


def _number(cell: str) -> float:
    value = float(cell)
    if math.isnan(value):
        raise ValueError("a score is NaN")
    return value


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda cell: read(cell) if cell else None


_READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("dataset", "class_name", "path", "defect"), unguarded),
    "label": _label,
    **dict.fromkeys(("score", "map_max"), _or_none(_number)),
    **dict.fromkeys(("shots", "support_seed"), _or_none(int)),
}
