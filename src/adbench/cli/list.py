"""`adbench list`: which methods and backbones there are; `list data` is `data list`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adbench.cli import data as data_command
from adbench.cli.override_parser import choices
from adbench.errors import UserError, unknown
from adbench.shipped import configs_dir

SUMMARY = "show the methods, data sets and backbones there are"

HELP = """\
usage  python -m adbench list methods|data|clip [data_dir=DIR]

  list methods   what each method is, the backbone that its paper uses, the version of its settings
  list data      the same as data list
  list clip      the backbones that have a name here; other models of open_clip: clip.name=MODEL clip.pretrained=TAG

examples
  python -m adbench list methods
  python -m adbench list data data_dir=/data
"""


def run(argv: Sequence[str]) -> int:
    """Run `adbench list` with these words."""
    topics: dict[str, Callable[[], list[list[str]]]] = {"methods": _methods, "clip": _clip}
    settings = [word for word in argv if word.startswith("data_dir=")]
    wanted = [word for word in argv if word not in settings]
    for word in wanted:
        if word not in ("data", *topics):
            raise unknown("thing to list", word, ["methods", "data", "clip", "data_dir=DIR"], where="list")
    if not wanted:
        raise UserError("list needs to know what", hint="python -m adbench list methods|data|clip")
    for number, topic in enumerate(wanted):
        print("\n" * (number > 0), end="")
        if topic == "data":
            data_command.run(["list", *settings])
        else:
            print(_columns(topics[topic]()))
    return 0


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two blanks apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def read_header(group: str, name: str) -> tuple[str, dict[str, Any]]:
    """The first comment of a YAML file, which says what it is, and its values as they stand there."""
    import yaml

    text = (configs_dir() / group / f"{name}.yaml").read_text(encoding="utf-8")
    comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    about = next((comment for comment in comments if comment and not comment.startswith("@package")), "")
    return about, yaml.safe_load(text)


def _methods() -> list[list[str]]:
    rows = [["method", "backbone", "version", "what it is"]]
    for name in choices("method"):
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
