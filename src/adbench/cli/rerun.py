"""`rerun=RUN`: what a run was started with, once more; further words win."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.cli.override_parser import split_word
from adbench.errors import UserError

# What would lead the new run into the old one's folder, or on from where it stopped.
_NOT_AGAIN = ("out", "resume", "rerun")


def with_rerun(command: str, overrides: Sequence[str]) -> list[str]:
    """The words of `command`, those that `rerun=RUN` stands for before them where no further word sets their key.

    Raises UserError for a folder that is no run, and for a run of another command.
    """
    from adbench.engine.run_folder import RunFolder

    asked = [word for word in overrides if word.startswith("rerun=")]
    if not asked:
        return list(overrides)
    further = [word for word in overrides if word not in asked]
    path = Path(asked[-1].partition("=")[2].strip("'\"")).expanduser()
    facts = RunFolder.open(path).facts()
    before = facts.get("overrides")
    if facts["command"] != command:
        hint = f"run python -m adbench {facts['command']} {asked[-1]}"
        raise UserError(f"this is a run of {facts['command']}, not of {command}", where=asked[-1], hint=hint)
    if not isinstance(before, list):
        what = "this run does not say what it was started with: it is of an older version"
        raise UserError(what, where=asked[-1], hint="give the words themselves; its config.yaml holds the settings")
    given = {split_word(word, command)[1] for word in further}
    return [word for word in before if split_word(word, command)[1] not in (*given, *_NOT_AGAIN)] + further
