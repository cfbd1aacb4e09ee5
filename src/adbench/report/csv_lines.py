"""Lines of CSV files: every sign that would end a line is quoted, also in file names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any


def csv_line(cells: Iterable[Any]) -> str:
    """A line with its line feed."""
    text = io.StringIO()
    # With this ending both signs of it are quoted in cells.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()[:-2] + "\n"
