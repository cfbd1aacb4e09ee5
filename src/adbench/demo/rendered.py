"""Data sets that are rendered rather than downloaded: once, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adbench.errors import UserError


def holds(note: Path, facts: Mapping[str, Any]) -> bool:
    """Whether the file ``note`` of a rendered folder says that the folder holds what ``facts`` describe."""
    try:
        return bool(json.loads(note.read_text(encoding="utf-8")) == facts)
    except (OSError, ValueError):
        return False


def render_once(note: Path, facts: Mapping[str, Any], draw: Callable[[Path], None]) -> None:
    """Fill the folder of ``note`` by ``draw(folder)`` unless it holds what ``facts`` (JSON types) describe.

    A reader never sees half of it: it is drawn into a sibling folder which is renamed into place at the end. An older
    rendering is replaced. Raises UserError for a folder that holds anything else.
    """
    root = note.parent
    if holds(note, facts):
        return
    if root.exists() and any(root.iterdir()) and not note.exists():
        raise UserError("not a rendered demo data set", where=str(root), hint="give another folder or empty this one")
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = root.with_name(f".{root.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        draw(draft)
        (draft / note.name).write_text(json.dumps(facts, indent=2), encoding="utf-8")
        _move_into_place(draft, note, facts)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _move_into_place(draft: Path, note: Path, facts: Mapping[str, Any]) -> None:
    root = note.parent
    if root.exists():
        stale = root.with_name(f".{root.name}.{os.getpid()}.stale")
        os.replace(root, stale)
        shutil.rmtree(stale, ignore_errors=True)
    try:
        os.replace(draft, root)
    except OSError:
        if not holds(note, facts):  # otherwise another process was faster and drew the same
            raise
