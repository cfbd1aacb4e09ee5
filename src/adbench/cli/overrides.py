"""The words of one command: which entries of groups they choose, which data sets, and what they set, as a layer."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adbench.cli.layers import KINDS, Deleted, Layer, Tree, dotted_keys, lay_over, nested
from adbench.cli.override_parser import Override, choices, entry_name, parse
from adbench.errors import UserError, unknown
from adbench.typed import Written, expanded, read

# Set by the group's choice: method=NAME, data=NAME and support=NAME.
_FIXED = ("method.name", "support.source")
# What a method's YAML sets for the other command.
_NOT_OURS = {"train": "eval", "eval": "trainer"}
# Of the trainer's settings those that a stage of training may have otherwise.
STAGE_KEYS = ("epochs", "batch_size", "steps_per_epoch", "optimizer")
# Sections that take keys of any name.
_OPEN = ("trainer.mosaic",)


class Overrides:
    """What was typed after the command, each word read once.

    command     its name, for messages
    overrides   by key
    data        names of the data sets, as typed; empty where none are
    """

    def __init__(self, command: str, overrides: Sequence[str]) -> None:
        self.command = command
        self.by_key: dict[str, Override] = {override.key: override for override in parse(overrides, command)}
        self.data = self._data()
        for group, kind in KINDS.items():
            override = self.by_key.get(group)
            if override is None or group == "data":
                continue
            name = read(override.value)
            if not isinstance(name, str):
                raise UserError(f"{override.word} names no {kind}", where=command, hint=f"write {group}=NAME")
            name = entry_name(group, name)
            check_choice(group, name, override.word)
            self.by_key[group] = replace(override, value=name)

    def __contains__(self, key: str) -> bool:
        return key in self.by_key

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, `default` where it was not typed or is null."""
        value = read(self.by_key[key].value) if key in self.by_key else None
        return default if value is None else value

    def word(self, key: str) -> str:
        """The word that sets a key, as it was typed; empty where none does."""
        override = self.by_key.get(key)
        return "" if override is None else override.word

    @property
    def method(self) -> str | None:
        """The method's name, where one was typed."""
        return self.get("method")  # type: ignore[no-any-return]

    @property
    def data_dir(self) -> Path:
        """Where data sets lie: data_dir, else $ADBENCH_DATA, else ./data."""
        return expanded(str(self.get("data_dir") or os.environ.get("ADBENCH_DATA", "data")))

    def only(self, *keys: str) -> None:
        """Raise UserError, with the nearest key, for a word that is none of `keys` ("data.*": any of a data set).

        Of other sections whoever takes "clip.*" or "method.*" checks the keys.
        """
        open_sections = tuple(key[:-1] for key in keys if key.endswith(".*"))
        for key, override in self.by_key.items():
            if key not in keys and not key.startswith(open_sections):
                known = [key for key in keys if not key.endswith(".*")]
                raise unknown_setting(
                    override.word, key, known + ["data.root", "data.classes"] * ("data.*" in keys), self.command
                )

    @property
    def choices(self) -> dict[str, str]:
        """The entries of groups that were typed, but for data sets."""
        return {group: str(self.get(group)) for group in KINDS if group in self and group != "data"}

    def layer(self, data: Sequence[str]) -> Layer:
        """What was typed, for the data sets `data`, all that the command names.

        Raises UserError for an unknown one, for a setting of data that does not say whose it is, and for one of a data
        set that is not named.
        """
        for name in data:
            check_choice("data", name, self.word("data") or name)
        values: Tree = {}
        for key, override in self.by_key.items():
            value = Deleted if override.action == "delete" else override.value
            if isinstance(value, Written) and isinstance(value.value, dict):
                value = value.value  # joined with what is below, key by key
            if key.startswith("data."):
                owner, option = self._owner(override, data)
                values = lay_over(values, {"data": {owner: {option: value}}})
            elif key.startswith("method.") and isinstance(value, Written):
                values = lay_over(values, nested({key: replace(value, may_name=False)}))
            elif key not in KINDS and key not in ("checkpoint", "benchmark"):
                values = lay_over(values, nested({key: value}))
        return Layer(self.choices, values)

    def check_known(self, tree: Mapping[str, Any]) -> None:
        """Raise UserError, with the nearest key, for a typed key that the composed settings `tree` do not have."""
        groups = set(KINDS) - {_NOT_OURS[self.command]}
        known = {
            key
            for key in dotted_keys({k: v for k, v in tree.items() if k != "data"})
            if not key.startswith(f"{_NOT_OURS[self.command]}.")
        } - {*_FIXED}
        if self.command == "train":  # what a stage may have otherwise than the others
            trainer = dotted_keys(tree["trainer"])
            of_stages = [key for key in trainer if key.partition(".")[0] in STAGE_KEYS]
            known |= {f"trainer.stages.{stage}.{key}" for stage in tree["trainer"]["stages"] for key in of_stages}
        names = list(tree["data"])
        for name, options in tree["data"].items():
            known |= {f"data.{name}.{option}" for option in options}
            known |= {f"data.{option}" for option in options} if len(names) == 1 else set()
        for key, override in self.by_key.items():
            if key in groups or (key in known and override.action == "set"):
                continue
            self._check_action(override, known | groups)

    def _check_action(self, override: Override, known: set[str]) -> None:
        parent = override.key.rpartition(".")[0]
        if override.action == "set" or (parent not in _OPEN and override.key not in known):
            raise unknown_setting(override.word, override.key, known, self.command)
        if override.action == "add" and override.key in known:
            raise UserError(
                f"{override.key} is there already",
                where=override.word,
                hint=f"write {shlex.quote(override.word.lstrip('+'))}",
            )
        if override.action == "delete" and parent not in _OPEN:
            raise UserError(
                f"{override.key} cannot be deleted",
                where=override.word,
                hint=f"set it: {override.key}=null, or leave it",
            )

    def _data(self) -> list[str]:
        if "data" not in self:
            return []
        value, word = read(self.by_key["data"].value), self.word("data")
        names = [entry_name("data", str(name)) for name in (value if isinstance(value, list) else [value])]
        if not names:
            raise UserError("no data set is named", where=word, hint="write data=NAME or 'data=[a,b]'")
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"data set {name!r} is named twice", where=word, hint="name it once")
        return names

    def _owner(self, override: Override, names: Sequence[str]) -> tuple[str, str]:
        """The data set that a setting data.OPTION or data.NAME.OPTION is for, and the option."""
        first, _, option = override.key.removeprefix("data.").partition(".")
        if option:
            if first not in names:
                known = [f"data.{name}.{option}" for name in names]
                raise unknown_setting(override.word, override.key, known, self.command)
            return first, option
        if len(names) > 1:
            raise UserError(
                f"{override.key} does not say which of {', '.join(names)} it is for",
                where=override.word,
                hint="write " + shlex.quote(f"data.{names[0]}.{first}={override.word.partition('=')[2]}"),
            )
        return names[0], first


def check_choice(group: str, name: str, where: str) -> None:
    """Raise UserError, with the nearest name, where a group has no such entry."""
    known = choices(group)
    if name not in known:
        raise unknown(KINDS[group], name, known, where=where)


def unknown_setting(word: str, key: str, known: Iterable[str], command: str) -> UserError:
    """Describe a key that does not exist: the nearest one; `epochs` is near `trainer.epochs`."""
    keys = sorted(known)
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    if not near:
        last_parts = {full.rpartition(".")[2]: full for full in reversed(keys)}
        close = difflib.get_close_matches(key.rpartition(".")[2], last_parts, n=1, cutoff=0.6)
        near = [last_parts[part] for part in close]
    nearest = f"did you mean {near[0]}? " if near else ""
    return UserError(
        f"unknown setting {key!r}", where=word, hint=f"{nearest}all settings: python -m adbench {command} --help"
    )
