"""The words of one command: which entries of groups they choose, which data sets, and what they set."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adbench.cli.layers import KINDS, NOT_OURS, Deleted, Tree, lay_over, nested
from adbench.cli.override_parser import Override, choices, entry_name, parse
from adbench.cli.rerun import settings_in
from adbench.errors import UserError, unknown
from adbench.typed import Written, check_value, expanded

# What decides on data sets and weights, before there are settings.
_OF_PLANS = ("checkpoint", "benchmark")
# Sections that take keys of any name.
_OPEN = ("trainer.mosaic",)


class Overrides:
    """What was typed after the command, each word read once; or settings that were read elsewhere.

    command     its name, for messages
    overrides   by key
    data        names of the data sets, as typed; empty where none are
    """

    def __init__(self, command: str, overrides: Sequence[str | Override]) -> None:
        self.command = command
        typed = {override.key: override for override in parse(overrides, command)}
        if command in NOT_OURS and "rerun" in typed:
            file = typed.pop("rerun")
            typed = {override.key: override for override in settings_in(file, command, typed)} | typed
        self.by_key: dict[str, Override] = typed
        self.data = self._data()
        for group, kind in KINDS.items():
            override = self.by_key.get(group)
            if override is None or group == "data":
                continue
            name = override.plain
            if not isinstance(name, str):
                raise UserError(f"{override.word} names no {kind}", where=command, hint=f"write {group}=NAME")
            name = entry_name(group, name)
            check_choice(group, name, override.word)
            self.by_key[group] = replace(override, value=name)

    def __contains__(self, key: str) -> bool:
        return key in self.by_key

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, `default` where it was not typed or is null."""
        value = self.by_key[key].plain if key in self.by_key else None
        return default if value is None else value

    def read(self, key: str, wanted: Any, default: Any = None) -> Any:
        """As `get`, the value as an annotation (`adbench.typed`) wants it. Raises UserError for another one."""
        value = self.get(key)
        return default if value is None else check_value(wanted, self.by_key[key].value, key)

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

    def values(self, data: Sequence[str]) -> Tree:
        """What was typed, as settings; `data`: all data sets that the command names.

        Raises UserError for a setting of data that does not say whose it is, and for one of a set that is not named.
        """
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
            elif key not in KINDS and key not in _OF_PLANS:
                values = lay_over(values, nested({key: value}))
        return values

    def over(self, below: Tree, known: set[str], data: Sequence[str]) -> Tree:
        """What was typed, laid over the composed settings `below` of some of the data sets `data`.

        Raises UserError as `values` does, and, with the nearest key, for one that is not `known`.
        """
        values = self.values(data)
        for key, override in self.by_key.items():
            if not (key in known and (override.action == "set" or key in KINDS)):
                self._check_action(override, known)
        values["data"] = {name: options for name, options in values.get("data", {}).items() if name in below["data"]}
        return lay_over(below, values)

    def _check_action(self, override: Override, known: set[str]) -> None:
        parent = override.key.rpartition(".")[0]
        may_be_new = override.action == "add" and parent in _OPEN
        if override.action == "set" or (override.key not in known and not may_be_new):
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
        value, word = self.by_key["data"].plain, self.word("data")
        names = [entry_name("data", str(name)) for name in (value if isinstance(value, list) else [value])]
        if not names:
            raise UserError("no data set is named", where=word, hint="write data=NAME or 'data=[a,b]'")
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"data set {name!r} is named twice", where=word, hint="name it once")
            if len(names) > 1:  # a single name may be a benchmark's
                check_choice("data", name, word)
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
            from adbench.data import catalogue

            owner = next((name for name in names if first in catalogue.get(name).options), names[0])
            raise UserError(
                f"{override.key} does not say which of {', '.join(names)} it is for",
                where=override.word,
                hint="write " + shlex.quote(f"data.{owner}.{first}={override.word.partition('=')[2]}"),
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
