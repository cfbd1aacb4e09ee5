"""The words of a command line: `key=value` settings in Hydra's grammar, checked before Hydra sees them."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.errors import UserError, unknown
from adbench.shipped import configs_dir

OPTIONS = ("--debug", "--help", "--show")

# Free text: taken as typed, so that blanks, brackets and tildes in file names need no second level of quotes.
_PATHS = ("data_dir", "outputs", "out", "checkpoint", "clip.checkpoint", "clip.name", "support.path", "benchmark")
# Several numbers, one result for each: a list, although Hydra reads commas as several runs.
_LISTS = ("support.k", "support.seed")


@dataclass(frozen=True, slots=True)
class Setting:
    """One `key=value`: `value` as Hydra read it, `word` as the user typed it, `hydra` as Hydra shall read it."""

    key: str
    value: Any
    word: str
    hydra: str


def choices(group: str) -> list[str]:
    """The names that `group=NAME` takes: the group's YAML files, sorted."""
    return sorted(file.stem for file in (configs_dir() / group).glob("*.yaml"))


def data_dir_of(typed: Mapping[str, Setting]) -> Path:
    """Where data sets lie: data_dir, else $ADBENCH_DATA, else ./data."""
    given = typed["data_dir"].value if "data_dir" in typed else None
    return Path(str(given or os.environ.get("ADBENCH_DATA", "data"))).expanduser()


def parse(words: Sequence[str], command: str) -> list[Setting]:
    """Read the words after the command. Raises UserError for a word that is no `key=value` or names a key twice."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    settings: dict[str, Setting] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if word.startswith("-"):
            raise unknown("option", word, OPTIONS, where=f"{command}; settings are written key=value")
        if not equals or not key or key[0] in "+~":
            raise UserError(
                f"{word!r} is not a setting",
                where=command,
                mend=f"write key=value; all settings: python -m adbench {command} --help",
            )
        if key in settings:
            raise UserError(f"{key} is given twice", where=f"{settings[key].word} and {word}", mend="leave one out")
        hydra = f"{key}={_quoted(text)}" if key in _PATHS or key.endswith(".root") else word
        if key in _LISTS and "," in text and not text.startswith("["):
            hydra = f"{key}=[{text}]"
        if key == "checkpoint" and re.fullmatch(r"\{.*:.*\}", text):
            hydra = f"{key}={{{','.join(f'{name}: {_quoted(path)}' for name, path in _by_name(word).items())}}}"
        try:
            override = parser.parse_override(hydra)
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"cannot read the setting {word!r}: {reason}", where=command, mend=f"put quotes: {key}='...'"
            ) from error
        if override.is_sweep_override():
            raise UserError(
                f"{word!r} asks for several runs at once",
                where=command,
                mend=f"one command is one run; a list is written '{key}=[a,b]' with quotes",
            )
        settings[key] = Setting(key, _plain(override.value()), word, hydra)
    return list(settings.values())


def _by_name(word: str) -> dict[str, str]:
    """The mapping that a word such as "checkpoint={visa: RUN, default: FILE}" holds; paths need no quotes."""
    import yaml

    key, _, text = word.partition("=")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict) or not value or not all(isinstance(one, str) for one in value.values()):
        raise UserError(
            f"cannot read the setting {word!r}",
            mend=f"write {key}='{{DATA: RUN, default: RUN}}', blanks behind the colons",
        )
    return {str(name): one for name, one in value.items()}


def _quoted(text: str) -> str:
    if text[:1] in ("'", '"') or text == "null":
        return text
    # In Hydra's quoted strings a backslash is special only before a quote or at the end.
    escaped = re.sub(r"(\\*)(')", r"\1\1\\\2", text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def _plain(value: Any) -> Any:
    """Hydra's quoted strings as plain ones, lists and dicts all the way down."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    return getattr(value, "text", value)


def unknown_setting(word: str, key: str, known: Iterable[str], command: str) -> UserError:
    """Describe a key that does not exist: the nearest one; `epochs` is near `trainer.epochs`."""
    keys = sorted(known)
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    if not near:
        last_parts = {full.rpartition(".")[2]: full for full in reversed(keys)}
        close = difflib.get_close_matches(key.rpartition(".")[2], last_parts, n=1, cutoff=0.6)
        near = [last_parts[part] for part in close]
    hint = f"did you mean {near[0]}? " if near else ""
    return UserError(
        f"unknown setting {key!r}", where=word, mend=f"{hint}all settings: python -m adbench {command} --help"
    )
