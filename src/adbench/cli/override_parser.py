"""The words of a command line, each read once by Hydra's own parser: key=value, +key=value, ~key."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from adbench.errors import UserError, unknown
from adbench.plugins import DATASETS, METHODS, is_file
from adbench.shipped import configs_dir
from adbench.typed import Written, read

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override as HydraOverride

OPTIONS = ("--cfg", "--debug", "--help", "--info", "--multirun", "--profile", "--show", "-m")

# Free text: taken as typed, whatever blanks, brackets, commas and signs are in it.
_TEXTS = (
    *(
        "data_dir",
        "outputs",
        "out",
        "checkpoint",
        "benchmark",
        "rerun",
        "input",
        "from",
        "at",
        "class_name",
        "thresholds",
    ),
    *("clip.checkpoint", "clip.name", "support.path"),
)
# Several numbers, one result for each: a list, although Hydra reads commas as several runs.
_LISTS = ("support.k", "support.seed", "eval.aupro_limit", "eval.metrics")


@dataclass(frozen=True, slots=True)
class Override:
    """One word, as it was typed: `key`, and `value` as Hydra reads it, with the text of what may be a name (`Written`).

    `action`: "set" (key=value, ++key=value), "add" (+key=value: a key that a mapping does not have) or "delete" (~key).
    """

    key: str
    value: Any
    word: str
    action: Literal["set", "add", "delete"] = "set"

    @property
    def plain(self) -> Any:
        """The value alone. Raises UserError for what reads as nothing but text."""
        return read(self.value)


def setting(key: str, value: Any, word: str = "") -> Override:
    """A setting that nobody has typed: a value as Python knows it. `word`: where it comes from, for messages."""
    return Override(key, value, word or f"{key}={value}")


def choices(group: str) -> list[str]:
    """The names that `group=NAME` takes, sorted: those of YAML files or, of data sets and supports, registered ones."""
    if group == "data":
        from adbench.data import catalogue

        return catalogue.names()
    if group == "support":
        from adbench.data.support_sources import SOURCES

        return sorted(SOURCES)
    names = {file.stem for file in (configs_dir() / group).glob("*.yaml")}
    return sorted(names.union(METHODS.plugged()) if group == "method" else names)


def entry_name(group: str, word: str) -> str:
    """The name that a word stands for: of a plug-in file (`method=FILE.py`, `data=FILE.py`) what it registers.

    Raises UserError for a file that is missing, fails, or registers nothing of the kind.
    """
    registry = {"method": METHODS, "data": DATASETS}.get(group)
    if registry is None or not is_file(word):
        return word
    return registry.from_file(word)


def parse(overrides: Sequence[str | Override], command: str) -> list[Override]:
    """Read the words after the command; what has been read stays as it is.

    Raises UserError for a word that is no setting, or names a key twice.
    """
    by_key: dict[str, Override] = {}
    for word in overrides:
        override = word if isinstance(word, Override) else _override(word, command)
        other = by_key.setdefault(override.key, override)
        if other is not override:
            where = f"{other.word} and {override.word}"
            raise UserError(f"{override.key} is given twice", where=where, hint="leave one out")
    return list(by_key.values())


@dataclass(frozen=True, slots=True)
class Swept:
    """A word of a sweep: its value in Hydra's grammar, and whether it lists the values of several runs."""

    text: str
    is_sweep: bool

    def values(self, key: str) -> list[str]:
        """The words `key=value` of single runs, as Hydra's basic sweeper writes them."""
        from hydra.errors import HydraException

        parsed = _parsed(f"{key}={self.text}")
        try:
            values = parsed.sweep_string_iterator() if self.is_sweep else [parsed.get_value_element_as_str()]
            return [f"{key}={value}" for value in values]
        except HydraException as error:
            hint = "leave out --show, or list the values"
            raise UserError("only a sweeper knows these values", where=f"{key}={self.text}", hint=hint) from error


def as_sweep(overrides: Sequence[str], command: str) -> dict[str, Swept]:
    """Read the words of a sweep, by key: commas separate the values of different runs, as in Hydra.

    Raises UserError for a word that is no setting, and for one that is outside of Hydra's grammar.
    """
    from hydra.errors import HydraException

    swept = {}
    for word in overrides:
        _, key, text = split_word(word, command)
        if is_text(key):
            text = ",".join(part if part[:1] in ("'", '"') else _quoted(part) for part in text.split(","))
        try:
            swept[key] = Swept(text, _parsed(f"{key}={text}").is_sweep_override())
        except HydraException as error:
            hint = "put names in quotes: " + shlex.quote(f"{key}={_quoted(text)}")
            raise UserError(f"cannot read the setting {word!r}", where=f"{command} -m", hint=hint) from error
    return swept


def split_word(word: str, command: str) -> tuple[str, str, str]:
    """The sign ("", "+", "++", "~"), key and text of a word. Raises UserError for a word that is no setting."""
    if word.startswith("-"):
        raise unknown("option", word, OPTIONS, where=f"{command}; settings are written key=value")
    sign, key, equals, text = re.fullmatch(r"(\+{1,2}|~|)([^=]*)(=?)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
    if not re.fullmatch(r"[A-Za-z][\w./-]*", key) or not (equals or sign == "~"):
        hint = f"write key=value; all settings: python -m adbench {command} --help"
        raise UserError(f"{word!r} is not a setting", where=command, hint=hint)
    return sign, key, text


def is_text(key: str) -> bool:
    """Whether values of `key` are free text, which commas and brackets do not end."""
    return key in _TEXTS or key.endswith(".root")


def _override(word: str, command: str) -> Override:
    sign, key, text = split_word(word, command)
    if sign == "~":
        return Override(key, None, word, "delete")
    if is_text(key):
        value = _text(key, text, word)
    elif key in _LISTS and "," in text and not text.startswith("["):
        value = _value(key, f"[{text}]", word, command)
    else:
        value = _value(key, text, word, command)
    return Override(key, value, word, "add" if sign == "+" else "set")


def _text(key: str, text: str, word: str) -> Any:
    if key == "checkpoint" and re.fullmatch(r"\{.*:.*\}", text):
        return _by_name(word)
    if re.fullmatch(r"'[^']*'|\"[^\"]*\"", text):
        return text[1:-1]
    return None if text == "null" else text


def _value(key: str, text: str, word: str, command: str) -> Any:
    """A value in Hydra's grammar with its text beside it; in a list each element by itself.

    Quoted text is text alone. What is outside of the grammar may be a name: the error waits for who wants none.
    """
    from hydra.errors import HydraException

    if text[:1] == "[" and text[-1:] == "]":
        parts = _elements(text[1:-1])
        if parts is not None:
            return Written([_value(key, part, word, command) for part in parts], text)
    try:
        parsed = _parsed(f"{key}={text}")
    except HydraException as error:
        return Written(text, text, _unreadable(key, text, word, command, str(error).splitlines()[0]))
    if parsed.is_sweep_override():
        problem = _sweeps(key, text, word, command)
        if "," in text:  # a sweep that was forgotten to be called one, rather than a name
            raise problem
        return Written(text, text, problem)
    value = _plain(parsed.value())
    if isinstance(value, str) and (text.startswith(("'", '"')) or "\\" in text):
        return value  # quoted or escaped: no longer what was written
    return Written(value, text)


def _unreadable(key: str, text: str, word: str, command: str, reason: str) -> UserError:
    name = f"[{_quoted('A')},{_quoted('B')}]" if text[:1] == "[" else _quoted(text)
    hint = "close its brackets and quotes, or put names in quotes: " + shlex.quote(f"{key}={name}")
    return UserError(f"cannot read the setting {word!r}: {reason}", where=command, hint=hint)


def _sweeps(key: str, text: str, word: str, command: str) -> UserError:
    single, several = shlex.quote(f"{key}={_quoted(text)}"), shlex.quote(f"{key}=[{text}]")
    hint = f"add -m for a run each; a list is written {several}, a name with a comma in it {single}"
    return UserError(f"{word!r} asks for several runs at once", where=command, hint=hint)


def _parsed(hydra: str) -> HydraOverride:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(hydra)


def _elements(text: str) -> list[str] | None:
    """The elements of a list or mapping, between commas; None where one begins with a quote or bracket that stays open.

    Such an element goes on to where that is closed.
    """
    parts, open_, quote = [""], 0, ""
    for before, sign in zip(f" {text}", text, strict=False):
        begins = not parts[-1].strip() or parts[-1].endswith(": ")
        if quote:
            quote = "" if sign == quote and before != "\\" else quote
        elif sign in "'\"" and (begins or open_):
            quote = sign
        elif begins or open_:
            open_ += (sign in "[{") - (sign in "]}" and open_ > 0)
        if sign == "," and not quote and not open_:
            parts.append("")
        else:
            parts[-1] += sign
    if quote or open_:
        return None
    return [part.strip() for part in parts] if text.strip() else []


def _by_name(word: str) -> dict[str, str]:
    """The mapping that a word such as "checkpoint={visa: RUN, default: FILE}" holds; paths need no quotes."""
    key, _, text = word.partition("=")
    pairs = [part.partition(": ") for part in _elements(text[1:-1]) or []]
    by_name = {_text("", name.strip(), word): _text("", path.strip(), word) for name, _, path in pairs}
    if not by_name or len(by_name) < len(pairs) or not all(name and path for name, path in by_name.items()):
        raise UserError(
            f"cannot read the setting {word!r}",
            hint=f"write {key}='{{DATA: RUN, default: RUN}}', blanks behind the colons",
        )
    return by_name


def _quoted(text: str) -> str:
    """Text as a quoted string of Hydra's grammar, where a backslash is special only before a quote or at the end."""
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
