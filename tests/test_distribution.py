"""The source distribution holds what its README, tests and Makefile name."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_source_distribution_holds_all_files_of_the_root():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[tool.hatch.build.targets.sdist]")[2]
    listed = ast.literal_eval(re.search(r"include = (\[.*?\])", section, re.DOTALL)[1])
    kinds = ("*.md", "*.lock", "*.yml", "*.cff", "LICENSE", "Makefile")
    files = {path.name for kind in kinds for path in ROOT.glob(kind)}
    assert {"Makefile", "requirements-app.lock", "CONTRIBUTING.md"} <= files
    assert {name for name in files if not any(fnmatch(f"/{name}", pattern) for pattern in listed)} == set()
