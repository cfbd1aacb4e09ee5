"""The parity cases that are committed with the tests."""

from __future__ import annotations

from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures" / "parity"
CASES = {f"{case.parent.name}/{case.name}": case for case in sorted(FIXTURES.glob("*/*")) if case.is_dir()}
