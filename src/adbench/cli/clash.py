"""Detects the other project called `adbench` (tabular ADBench on PyPI), which shares our import name.

Both write to `site-packages/adbench`, so whichever is installed last replaces `adbench/__init__.py`, and removing
either one removes that file for both.
"""

from __future__ import annotations

import sys
from importlib import metadata

import adbench
from adbench.errors import UserError

HINT = "pip uninstall adbench; pip install --force-reinstall --no-deps adbench-clip"


def foreign_version() -> str | None:
    """Version of the foreign distribution `adbench` if one is installed in this environment, else None."""
    try:
        return metadata.version("adbench")
    except metadata.PackageNotFoundError:
        return None


def check_distribution() -> None:
    """Warn on stderr when the foreign distribution stands beside ours. Raises UserError when it has replaced ours."""
    foreign = foreign_version()
    if foreign is None:
        return
    what = f"the distribution adbench {foreign} (tabular ADBench, another project) uses the same import name"
    if not hasattr(adbench, "__version__"):
        raise UserError(f"{what} and has replaced our files", where="adbench/__init__.py", hint=f"run: {HINT}")
    print(f"adbench: warning: {what}; mend: {HINT}", file=sys.stderr)
