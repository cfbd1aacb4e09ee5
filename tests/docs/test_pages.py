"""The pages of README.md and docs/ as text, and what the site makes of docstrings."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import adbench
from adbench.cli.main import command_names
from docs.blocks import REPOSITORY, SHELLS, blocks_of, name_of, pages


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 250


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_no_command_stands_outside_of_a_block(page: Path) -> None:
    """Indented code is not executed, so commands stand in fences."""
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^ *(?:\$ )?(?:python -m adbench|torchrun) .*$", text, re.MULTILINE)
    fenced = "\n".join(block.text for block in blocks_of(page) if block.language in SHELLS or block.title)
    assert [line for line in shown if line.strip() not in fenced] == []


def test_every_command_shown_exists() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages())
    assert set(re.findall(r"python -m adbench ([a-z-]+)", text)) <= set(command_names())


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_linked_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file(), target


def test_the_api_page_shows_all_that_import_adbench_offers() -> None:
    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    assert [name for name in adbench.__all__ if f"::: adbench.{name}\n" not in text] == ["__version__"]


def test_the_api_page_shows_what_the_tutorial_of_a_method_uses() -> None:
    tutorial = (REPOSITORY / "docs" / "tutorials" / "add_a_method.md").read_text(encoding="utf-8")
    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    imports = re.findall(r"^from adbench\.(?:clip|data|methods)[\w.]* import (.+)$", tutorial, re.MULTILINE)
    names = {name for line in imports for name in line.split(", ")} - {"Features"}  # an alias of a dictionary
    assert {"Clip", "patch_maps"} <= names
    assert {name for name in names if not re.search(rf"^::: adbench\.[\w.]+\.{name}$", text, re.MULTILINE)} == set()


def test_search_from_the_disk_fetches_nothing() -> None:
    """The plugin `offline` fetches its stand-in for workers from elsewhere, unless a file of that name is given."""
    scripts = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))["extra"]["polyfills"]
    assert any("iframe-worker" in script for script in scripts)
    assert all((REPOSITORY / "docs" / script).is_file() for script in scripts)


def script(name: str) -> ModuleType:
    """A module of scripts/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fields_of_docstrings_become_lists() -> None:
    pytest.importorskip("griffe", reason="the extra docs is not installed")
    text = "Train.\n\nout   a folder; a\n      new one\na, b  numbers\nRaises UserError.\n\n    >>> 1  # doctest: +SKIP"
    assert script("docstring_fields").as_list(text) == (
        "Train.\n\n\n- `out`: a folder; a\n  new one\n- `a`, `b`: numbers\n\nRaises UserError.\n\n    >>> 1"
    )


@pytest.mark.parametrize(
    ("page", "link", "shown"),
    [
        ("ledger.md", "[figures](../src/adbench/report/published.csv)", "figures (`src/adbench/report/published.csv`)"),
        ("a/b.md", "[`data`](../../datasets.md#mvtec)", "[`data`](../data_sets.md#mvtec)"),
        ("a/b.md", "[c](../c.md)", "[c](../c.md)"),
        ("b.md", "![picture](../picture.png)", "![picture](../picture.png)"),
    ],
)
def test_links_out_of_the_site_are_written_out(page: str, link: str, shown: str) -> None:
    assert script("site_links").rewritten(f"See {link}.", page) == f"See {shown}."


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs" / "fidelity").glob("[!i]*.md")), ids=name_of)
def test_a_fidelity_page_says_once_what_equals_the_authors_code(page: Path) -> None:
    assert len(re.findall("^## .*equals?", page.read_text(encoding="utf-8"), re.IGNORECASE | re.MULTILINE)) <= 1
