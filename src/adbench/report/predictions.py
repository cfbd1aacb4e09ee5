"""predictions.csv: a row per picture, appended as it is scored; what a killed process has half written is dropped.

path, class_name, score, threshold, verdict (normal, anomalous; empty without a threshold). A float is written as Python
prints it, so it is read back to the bit; file names that are no UTF-8 keep their bytes.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from adbench.atomic import naming
from adbench.errors import UserError
from adbench.report.csv_text import checked_rows, csv_line, unguarded

FILE = "predictions.csv"
FIELDS = ("path", "class_name", "score", "threshold", "verdict")
_BLOCK = 1 << 20


class PredictionTable:
    """The rows of a file that is open for appending. `done`: paths of the pictures that have theirs."""

    def __init__(self, file: IO[bytes], done: set[str]) -> None:
        self.done = done
        self._file = file

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path) -> Iterator[PredictionTable]:
        """Begin a table, or go on with one. Raises UserError for a file that is something else."""
        with naming(path), path.open("a+b") as file:
            n_bytes = _whole_rows(file)
            file.truncate(n_bytes)
            table = cls(file, set(_paths(path)) if n_bytes else set())
            if n_bytes == 0:
                table._write(FIELDS)
            yield table

    def append(self, path: str, class_name: str, score: float, threshold: float | None, verdict: str) -> None:
        """Add the row of a picture; it has reached the system when this returns."""
        self._write((path, class_name, score, threshold, verdict))
        self.done.add(path)

    def _write(self, cells: tuple[Any, ...]) -> None:
        self._file.write(csv_line(cells).encode("utf-8", "surrogateescape"))
        self._file.flush()


def _whole_rows(file: IO[bytes]) -> int:
    """Bytes up to the end of the last whole row: a line feed outside of quotes."""
    file.seek(0)
    end = position = 0
    quoted = False
    while block := file.read(_BLOCK):
        for number, part in enumerate(block.split(b'"')):
            quoted ^= number > 0
            if not quoted and (last := part.rfind(b"\n")) >= 0:
                end = position + last + 1
            position += len(part) + 1
        position -= 1  # the last part has no quote behind it
    return end


def _paths(path: Path) -> Iterator[str]:
    hint = "give another folder, or remove the file to score all pictures anew"
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            for cells in checked_rows(rows, FIELDS):
                yield unguarded(cells[0])
        except (ValueError, csv.Error) as error:
            where = f"{path}:{rows.line_num}"
            raise UserError(f"this is no table of predictions: {error}", where=where, hint=hint) from error
