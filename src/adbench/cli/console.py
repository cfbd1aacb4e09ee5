"""Tables on standard output."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def print_lines(
    headers: Sequence[str],
    lines: Iterable[Sequence[str | Text]],
    *,
    left: Collection[str] = (),
    styles: Iterable[str] = (),
    ruled: bool = False,
    width: int = 120,
) -> None:
    """Print lines of cells; columns whose header is in `left` are aligned so, the others to the right.

    styles  of each line; ruled: a rule stands below bold ones
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in headers:
        table.add_column(Text(header), justify="left" if header in left else "right", overflow="fold")
    for cells, style in zip_longest(lines, styles, fillvalue=""):
        texts = [Text(cell) if isinstance(cell, str) else cell for cell in cells]
        table.add_row(*texts, style=style, end_section=ruled and style == "bold")
    print_table(table, width=width)


def print_table(table: Table, *, width: int = 120) -> None:
    """Print to stdout: as wide as the terminal, and `width` characters where there is none."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else width).print(table)
