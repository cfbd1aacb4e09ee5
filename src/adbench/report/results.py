"""results.json and its renderings results.csv and results.md: three views of the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.engine.settings import Row

if TYPE_CHECKING:
    from rich.table import Table


def write_results(folder: Path, rows: Sequence[Row], provenance: Mapping[str, Any]) -> list[Path]:
    """Write results.json, results.csv and results.md into `folder`, each whole. Returns their paths."""
    raise NotImplementedError


def read_results(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Provenance and rows of a results.json (or of the run folder that holds it); null becomes NaN again."""
    raise NotImplementedError


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table, percent with one decimal, n/a where a metric is undefined."""
    raise NotImplementedError


def console_table(rows: Sequence[Row], *, title: str = "") -> Table:
    """The same table for a terminal (rich)."""
    raise NotImplementedError
