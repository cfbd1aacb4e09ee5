"""Tables on standard output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def print_table(table: Table, *, width: int = 120) -> None:
    """Print to stdout: as wide as the terminal, and `width` characters where there is none."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else width).print(table)
