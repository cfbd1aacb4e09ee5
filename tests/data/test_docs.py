from __future__ import annotations

from pathlib import Path

from adbench.data import catalogue
from adbench.data.docs import render

PAGE = Path(__file__).parents[2] / "datasets.md"


def test_datasets_md_is_what_the_catalogue_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m adbench.data.docs > datasets.md"


def test_every_set_and_option_has_its_place() -> None:
    text = render()
    for name in catalogue.names():
        assert f"\n## {name}\n" in text
        assert all(f"`data.{option}`" in text for option in catalogue.get(name).options)
