"""CSV files: a header, a line per row, and what a value looks like in its cell.

Empty: None and NaN. Floats are written as Python prints them, so they are read back to the bit; lists joined by ";".
Every sign that would end a line is quoted, also in file names. Texts that a spreadsheet would run as a formula get an
apostrophe in front; numbers with a sign stay numbers.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_FORMULA = tuple("=+-@\t\r")
"""What a spreadsheet takes for the beginning of a formula."""
_NUMBER = re.compile(r"[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def csv_text(keys: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header of `keys` and a line per row; empty where a row lacks a key."""
    return csv_line(keys) + "".join(csv_line(row.get(key) for key in keys) for row in rows)


def csv_line(cells: Iterable[Any]) -> str:
    """A line with its line feed."""
    text = io.StringIO()
    # With this ending both signs of it are quoted in cells.
    csv.writer(text, lineterminator="\r\n").writerow(map(_cell, cells))
    return text.getvalue()[:-2] + "\n"


def checked_rows(lines: Iterator[list[str]], keys: Sequence[str]) -> Iterator[list[str]]:
    """The rows below the header. Raises ValueError for other columns than `keys`, and another number of cells."""
    if tuple(next(lines, ())) != tuple(keys):
        raise ValueError(f"the columns are not {', '.join(keys)}")
    for cells in lines:
        if len(cells) != len(keys):
            raise ValueError(f"{len(cells)} cells instead of {len(keys)}")
        yield cells


def unguarded(text: str) -> str:
    """The text that was written into a cell."""
    return text[1:] if text[:1] == "'" and _is_formula(text[1:]) else text


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        value = "; ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def _is_formula(text: str) -> bool:
    """Whether a formula begins here, behind as many apostrophes as there are."""
    text = text.lstrip("'")
    return text[:1] in _FORMULA and not _NUMBER.fullmatch(text)
