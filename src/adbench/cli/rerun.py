"""`rerun=RUN`: what a run was started with, once more; `rerun=FILE.yaml`: the settings in a config.yaml. Words win."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adbench.cli.layers import Whole
from adbench.cli.override_parser import Override, choices, entry_name, setting, split_word
from adbench.errors import UserError
from adbench.structured import read_yaml

# What would lead the new run into the old one's folder, or on from where it stopped.
_NOT_AGAIN = ("out", "resume")
_NAMED_BY = {"method": "name", "clip": "name", "support": "source"}
"""Sections that are of an entry of a group, and which of their settings names it."""


def with_rerun(command: str, overrides: Sequence[str]) -> list[str]:
    """The words of `command`, those that `rerun=RUN` stands for before them where no further word sets their key.

    Raises UserError for a folder that is no run, and for a run of another command.
    """
    from adbench.engine.run_folder import RunFolder

    asked = [word for word in overrides if word.startswith("rerun=")]
    path = Path(asked[-1].partition("=")[2].strip("'\"")).expanduser() if asked else None
    if path is None or _is_yaml(path):
        return list(overrides)
    further = [word for word in overrides if word not in asked]
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


def settings_in(file: Override, command: str, typed: Mapping[str, Override]) -> Iterator[Override]:
    """The settings in the config.yaml that rerun=FILE.yaml names, without those of what is `typed` otherwise.

    Raises UserError for a file that is none of `command`, or holds the settings of several checkpoints.
    """
    tree = read_yaml(Path(str(file.value)).expanduser(), hint="give a run's folder or its config.yaml")
    if "parts" in tree:
        what = "these are settings for several checkpoints, each with its own data"
        raise UserError(what, where=file.word, hint="give the run's folder: rerun=RUN")
    if ("trainer" in tree) is not (command == "train"):
        raise UserError(
            f"these are not settings of {command}", where=file.word, hint="give a config.yaml of such a run"
        )
    for section, values in ((str(key), value) for key, value in tree.items()):
        if section == "data" and isinstance(values, Mapping):
            names = _names("data", typed) if "data" in typed else list(values)
            yield setting("data", names, file.word)
            for name in set(names).intersection(values):
                if not isinstance(values[name], Mapping):
                    raise UserError(f"data.{name} is {values[name]!r:.80}", where=file.word, hint="give its settings")
                yield from (setting(f"data.{name}.{key}", value, file.word) for key, value in values[name].items())
        elif isinstance(values, Mapping) and section != "checkpoint":
            named_by = _NAMED_BY.get(section, "")
            name = values.get(named_by)
            if section in typed and _names(section, typed) != [name]:
                continue
            if name in choices(section):
                yield setting(section, name, file.word)
            for key, value in values.items():
                if key != named_by or section == "clip":
                    whole = Whole(value) if isinstance(value, Mapping) else value
                    yield setting(f"{section}.{key}", whole, file.word)
        elif section not in _NOT_AGAIN:
            yield setting(section, values, file.word)


def _is_yaml(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml")


def _names(group: str, typed: Mapping[str, Override]) -> list[str]:
    """What was typed of a group, by the names of its entries."""
    value = typed[group].plain
    return [entry_name(group, str(name)) for name in (value if isinstance(value, list) else [value])]
