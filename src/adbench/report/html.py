"""One self-contained HTML page per evaluation."""

from __future__ import annotations

from pathlib import Path


def write_html(folder: Path, *, training: Path | None = None) -> Path:
    """Write report.html from what `folder` holds; `training`: the run whose loss curve it shows."""
    raise NotImplementedError
