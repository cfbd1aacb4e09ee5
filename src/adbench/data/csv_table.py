"""Tables of released archives: rows of cells, or one line on what is wrong with the file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from adbench.errors import UserError


def read_rows(table: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield where each row stands and its cells, the header too; empty rows are left out.

    Raises UserError for a file that cannot be read or is no text.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.reader(lines)
            yield from ((f"{table}, line {rows.line_num}", row) for row in rows if any(map(str.strip, row)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        hint = "take the archive's own file"
        raise UserError(f"the table cannot be read: {reason}", where=str(table), hint=hint) from error
