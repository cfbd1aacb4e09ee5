"""The words of a command line, each read once by Hydra's own parser: key=value, +key=value, ~key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from adbench.errors import UserError, unknown
from adbench.shipped import configs_dir

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override as HydraOverride

OPTIONS = ("--cfg", "--debug", "--help", "--info", "--multirun", "--show", "-m")

# Free text: taken as typed, so that blanks, brackets and tildes in file names need no second level of quotes.
_TEXTS = (
    "data_dir",
    "outputs",
    "out",
    "checkpoint",
    "clip.checkpoint",
    "clip.name",
    "support.path",
    "benchmark",
    "rerun",
)
# Several numbers, one result for each: a list, although Hydra reads commas as several runs.
_LISTS = ("support.k", "support.seed")


@dataclass(frozen=True, slots=True)
class Override:
    """One word. `value` as Hydra read it, `word` as it was typed, `text` the value in Hydra's grammar.

    `action`: "set" (key=value, ++key=value), "add" (+key=value: a key that a mapping does not have) or "delete" (~key).
    """

    key: str
    value: Any
    word: str
    text: str
    action: Literal["set", "add", "delete"] = "set"
    is_sweep: bool = False


def choices(group: str) -> list[str]:
    """The names that `group=NAME` takes, sorted: those of YAML files or, of data sets and supports, registered ones."""
    if group == "data":
        from adbench.data import catalogue

        return catalogue.names()
    if group == "support":
        from adbench.data.support_sources import SOURCES

        return sorted(SOURCES)
    return sorted(file.stem for file in (configs_dir() / group).glob("*.yaml"))


def parse(words: Sequence[str], command: str) -> list[Override]:
    """Read the words after the command. Raises UserError for a word that is no setting, or names a key twice."""
    found = [_read(word, command, sweep=False) for word in words]
    for one in found:
        if one.is_sweep:
            raise UserError(
                f"{one.word!r} asks for several runs at once",
                where=command,
                mend=f"add -m for a run each; a list is written '{one.key}=[a,b]' with quotes",
            )
    return _unrepeated(found)


def as_sweep(words: Sequence[str], command: str) -> list[Override]:
    """Read the words of a sweep: commas separate the values of different runs, as in Hydra."""
    return _unrepeated([_read(word, command, sweep=True) for word in words])


def _unrepeated(found: Sequence[Override]) -> list[Override]:
    by_key: dict[str, Override] = {}
    for one in found:
        other = by_key.setdefault(one.key, one)
        if other is not one:
            raise UserError(f"{one.key} is given twice", where=f"{other.word} and {one.word}", mend="leave one out")
    return list(by_key.values())


def _read(word: str, command: str, *, sweep: bool) -> Override:
    if word.startswith("-"):
        raise unknown("option", word, OPTIONS, where=f"{command}; settings are written key=value")
    sign = re.match(r"\+{0,2}|~", word).group()  # type: ignore[union-attr]
    key, equals, text = word.removeprefix(sign).partition("=")
    if sign == "~":
        return Override(key, None, word, "", "delete")
    if not equals or not re.fullmatch(r"[A-Za-z][\w./-]*", key):
        raise UserError(
            f"{word!r} is not a setting",
            where=command,
            mend=f"write key=value; all settings: python -m adbench {command} --help",
        )
    text = _in_grammar(key, text, word, sweep=sweep)
    parsed = _parsed(f"{key}={text}", word, command)
    value = None if parsed.is_sweep_override() else _plain(parsed.value())
    return Override(key, value, word, text, "add" if sign == "+" else "set", parsed.is_sweep_override())


def _in_grammar(key: str, text: str, word: str, *, sweep: bool) -> str:
    """The value as Hydra's grammar has it: free text in quotes, several numbers in brackets."""
    if key == "checkpoint" and re.fullmatch(r"\{.*:.*\}", text):
        return f"{{{','.join(f'{name}: {_quoted(path)}' for name, path in _by_name(word).items())}}}"
    if key in _TEXTS or key.endswith(".root"):
        return ",".join(_quoted(part) for part in text.split(",")) if sweep else _quoted(text)
    if key in _LISTS and "," in text and not text.startswith("[") and not sweep:
        return f"[{text}]"
    return text


def _parsed(hydra: str, word: str, command: str) -> HydraOverride:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(hydra)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        key = hydra.partition("=")[0]
        raise UserError(
            f"cannot read the setting {word!r}: {reason}", where=command, mend=f"put quotes: {key}='...'"
        ) from error


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
