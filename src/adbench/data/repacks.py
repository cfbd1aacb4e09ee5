"""Copies of data sets in formats of hubs and of tools for annotation, which are named rather than read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from adbench.data.disk import kind_of
from adbench.data.stems import plain

ROBOFLOW = re.compile(r"\.rf\.[0-9a-f]{16,}\.")
_LOOKED_AT = 2000  # files, of large folders
_BOX = re.compile(r"\d+( +\d*\.?\d+(e-\d+)?){4,}")
_LARGEST = 1 << 22  # bytes of a JSON file that is read to tell its format


def foreign_format(root: Path) -> str | None:
    """The format of a repack, in words; None where none is known. Looks at the folder and three levels below it."""
    files = list(islice(_files(root), _LOOKED_AT))
    names = {path.name.lower() for path in files}
    folders = {plain(part) for path in files for part in path.relative_to(root).parts[:-1]}
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (
            lambda: any(name.endswith((".parquet", ".arrow")) for name in names),
            "it is a parquet copy: pictures in tables",
        ),
        (lambda: any(ROBOFLOW.search(path.name) for path in files), "it is an export of Roboflow: re-encoded, renamed"),
        (lambda: {"img", "ann"} <= folders, "it is in the format of Supervisely (DatasetNinja)"),
        (lambda: "samples.json" in names or {"data", "fields"} <= folders, "it is in the format of FiftyOne"),
        (lambda: "metadata.jsonl" in names, "it is an image folder of the Hugging Face hub (metadata.jsonl)"),
    )
    return next((form for holds, form in checks if holds()), None) or annotation_format(files)


def annotation_format(files: list[Path]) -> str | None:
    """How defects are annotated in files that are no masks, in words; None where no such file is known."""
    for path in files:
        suffix = path.suffix.lower()
        if suffix == ".json" and (form := _json_format(path)):
            return f"annotations in JSON ({form}), no mask files"
        if suffix == ".xml" and plain(path.parent.name).startswith("annotation"):
            return "annotations in XML (Pascal VOC), no mask files"
        if suffix == ".txt" and _holds_boxes(path):
            return "annotations as text (YOLO), no mask files"
    return None


def beside(folder: Path) -> str | None:
    """`annotation_format` of the files that lie directly in a folder."""
    return annotation_format(sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != "."))


def _files(folder: Path, depth: int = 4) -> Any:
    with os.scandir(folder) as scanned:
        entries = sorted((entry for entry in scanned if not entry.name.startswith(".")), key=lambda entry: entry.name)
    yield from (Path(entry.path) for entry in entries if kind_of(entry) == "file")
    for entry in entries:
        if depth > 1 and kind_of(entry) == "folder":
            yield from _files(Path(entry.path), depth - 1)


def _json_format(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig")) if path.stat().st_size <= _LARGEST else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    if {"images", "annotations"} <= set(content):
        return "COCO"
    return "LabelMe" if "shapes" in content else None


def _holds_boxes(path: Path) -> bool:
    try:
        lines = path.read_text(encoding="utf-8")[:4000].split("\n")[:5]
    except (OSError, ValueError):
        return False
    lines = [line.strip() for line in lines if line.strip()]
    return bool(lines) and all(_BOX.fullmatch(line) for line in lines)
