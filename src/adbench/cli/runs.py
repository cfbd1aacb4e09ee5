"""Finished evaluations that are named on the command line, for commands that read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.typed import expanded


def split_runs(command: str, argv: Sequence[str], *keys: str) -> tuple[list[Path], Overrides]:
    """The folders of runs among the words, and the settings, which are `keys`.

    "latest" is the newest finished evaluation, a results.json stands for its folder.

    Raises UserError for a setting that is none of them.
    """
    runs = [word for word in argv if Path(word).exists() or not ("=" in word or word.startswith("-"))]
    overrides = Overrides(command, [word for word in argv if word not in runs])
    overrides.only(*keys)
    return [_folder(word) for word in runs], overrides


def out_folder(overrides: Overrides) -> Path | None:
    """The folder that `out` names, if it is given. Raises UserError for a file."""
    out = expanded(str(overrides.get("out"))) if "out" in overrides else None
    if out is not None and out.exists() and not out.is_dir():
        raise UserError("this is a file, not a folder", where=f"out={out}", hint="give a folder")
    return out


def run_labels(methods: Sequence[str], runs: Sequence[Path]) -> list[str]:
    """What runs are called: by their methods, or by folders too where these do not tell them apart."""
    labels = [
        method if methods.count(method) == 1 else f"{method} ({run.name})"
        for method, run in zip(methods, runs, strict=True)
    ]
    if len(set(labels)) < len(labels):
        labels = [f"{method} ({run})" for method, run in zip(methods, runs, strict=True)]
    return labels


def _folder(word: str) -> Path:
    from adbench.engine.run_folder import latest

    if word == "latest":
        return latest(command="eval", holds=("results.json",)).path
    path = expanded(word)
    return path.parent if path.name == "results.json" and path.is_file() else path
