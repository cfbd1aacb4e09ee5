"""metrics.md is what the modules of metrics say."""

from __future__ import annotations

from pathlib import Path

from adbench.metrics.docs import render
from adbench.metrics.registry import all_metrics

PAGE = Path(__file__).parents[2] / "metrics.md"


def test_the_page_is_up_to_date_and_names_every_metric():
    text = PAGE.read_text(encoding="utf-8")
    assert text == render(), "run: python -m adbench.metrics.docs > metrics.md"
    assert all(f"`{name}" in text for name in all_metrics())
