"""`adbench list`: which methods and backbones there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adbench.cli.console import print_lines
from adbench.cli.override_parser import choices
from adbench.errors import UserError, unknown
from adbench.plugins import METHODS
from adbench.shipped import configs_dir

SUMMARY = "show the methods and backbones there are"

HELP = """\
usage  python -m adbench list methods|clip

  list methods   what each method is, the backbone that its paper uses, the version of its settings
  list clip      the backbones that have a name here; other models of open_clip: clip.name=MODEL clip.pretrained=TAG

Data sets are listed by `data list`.

examples
  python -m adbench list methods
  python -m adbench list clip
"""


def run(argv: Sequence[str]) -> int:
    """Run `adbench list` with these words."""
    topics: dict[str, Callable[[], list[list[str]]]] = {"methods": _methods, "clip": _clip}
    for word in argv:
        if word == "data":
            raise UserError(
                "data sets are listed by data list", where="list data", hint="run python -m adbench data list"
            )
        if word not in topics:
            raise unknown("thing to list", word, list(topics), where="list")
    if not argv:
        raise UserError("list needs to know what", hint="run python -m adbench list methods|clip, or data list")
    for topic in argv:
        headers, *rows = topics[topic]()
        print_lines(headers, rows, left=set(headers), width=100)
    return 0


def read_header(group: str, name: str) -> tuple[str, dict[str, Any]]:
    """The first comment of a YAML file, which says what it is, and its values as they stand there."""
    import yaml

    text = (configs_dir() / group / f"{name}.yaml").read_text(encoding="utf-8")
    comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    about = next((comment for comment in comments if comment and not comment.startswith("@package")), "")
    return about, yaml.safe_load(text)


def _methods() -> list[list[str]]:
    rows = [["method", "backbone", "version", "what it is"]]
    plugged = METHODS.plugged()
    for name in choices("method"):
        if name in plugged:
            rows.append([name, "", "", "of an installed package"])
            continue
        about, values = read_header("method", name)
        overrides = [entry for entry in values.get("defaults", []) if isinstance(entry, dict)]
        backbone = next((entry["override /clip"] for entry in overrides if "override /clip" in entry), "")
        rows.append([name, backbone, str(values.get("version", "")), about])
    return rows


def _clip() -> list[list[str]]:
    rows = [["clip", "weights", "what it is"]]
    for name in choices("clip"):
        about, values = read_header("clip", name)
        rows.append([name, values["pretrained"] or "shipped", about])
    return rows
