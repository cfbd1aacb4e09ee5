"""Values checked against annotations: settings become typed arguments, from YAML, a command line or a notebook alike.

Nothing is guessed: whole numbers serve as floats, floats without a fraction as whole numbers, lists as tuples, strings
as paths. Ranges stand in the annotations: `PositiveInt`, `Annotated[float, Range(0, 1)]`, `Annotated[..., Length(2)]`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import math
import shlex
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from adbench.errors import UserError, unknown

_Made = TypeVar("_Made")
MOST = 2**31 - 1
"""Of what is counted: beyond it, other libraries fail."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, inclusive; with `above` the lower one is not, with `below` the upper one."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False

    def in_words(self, value: float) -> str:
        """The bounds in words; one that is there only for what machines can count, where `value` is beyond it."""
        lower = "" if math.isinf(self.least) else f"{'above' if self.above else 'of at least'} {self.least:.10g}"
        word = "below" if self.below else "at most" if lower else "of at most"
        hidden = math.isinf(self.most) or (self.most >= MOST and value <= self.most)
        return " and ".join(filter(None, (lower, "" if hidden else f"{word} {self.most:.10g}")))

    def __contains__(self, value: float) -> bool:
        inside = self.least <= value <= self.most
        return inside and not (self.above and value == self.least) and not (self.below and value == self.most)


@dataclass(frozen=True, slots=True)
class Length:
    """How many elements a list has, at least and at most; one number: exactly so many."""

    least: int
    most: float = 0

    def __contains__(self, number: int) -> bool:
        return self.least <= number <= (self.most or self.least)

    def __str__(self) -> str:
        if not self.most:
            return f"of {self.least}"
        return f"of at least {self.least}" if math.isinf(self.most) else f"of {self.least} to {self.most:g}"


PositiveInt = Annotated[int, Range(1, MOST)]
NonNegativeInt = Annotated[int, Range(0, MOST)]
PositiveFloat = Annotated[float, Range(0, above=True)]
NonNegativeFloat = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Few = Annotated[int, Range(1, 1000)]
"""A count of things that each take room: tokens, prompts, layers."""
Side = Annotated[int, Range(1, 16384)]
"""Of an image, in pixels."""
Sigma = Annotated[float, Range(0, 1000)]
"""Of a Gaussian filter, in pixels."""
NonEmpty = Length(1, math.inf)


@dataclass(frozen=True, slots=True)
class Written:
    """A value of a command line: as it reads, and the text that it was written as, for where a string is wanted.

    problem   why it reads as nothing but text
    may_name  a number, truth value or null serves as a string too: not for hyperparameters, which are no names
    """

    value: Any
    text: str
    problem: UserError | None = None
    may_name: bool = True


def read(value: Any) -> Any:
    """`value` with all that was `Written` as it reads. Raises UserError for what does not."""
    if isinstance(value, Written):
        if value.problem is not None:
            raise value.problem
        return read(value.value)
    if isinstance(value, Mapping):
        return {key: read(item) for key, item in value.items()}
    return [read(item) for item in value] if isinstance(value, list) else value


def make(cls: type[_Made], values: Mapping[str, Any], where: str) -> _Made:
    """Build dataclass `cls` from `values`. `where` is the section's name ("trainer"; "" at the top) for messages.

    Raises UserError, naming the setting, for an unknown key and for a value of another type or out of range.
    """
    return cls(**_checked(hints_of(cls), values, where))  # type: ignore[arg-type]


def check_arguments(function: Callable[..., Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`values` as the keyword-only arguments of `function` want them. Raises UserError as `make` does."""
    return _checked(hints_of(function), values, where)


def check_value(wanted: Any, value: Any, where: str) -> Any:
    """`value` as an annotation wants it; of a TypedDict, further keys are kept. Raises UserError as `make` does."""
    return _value(wanted, value, where)


def check_fields(instance: Any, where: str, **places: str) -> None:
    """Check the fields of a dataclass, made by hand or by `make`, and give them their types; for `__post_init__`.

    `places`: names of fields that are set elsewhere than in section `where`. Raises UserError as `make` does.
    """
    cls: Callable[..., Any] = type(instance)
    for name, wanted in hints_of(cls).items():
        place = places.get(name, f"{where}.{name}")
        object.__setattr__(instance, name, _value(wanted, getattr(instance, name), place))


@functools.cache
def hints_of(owner: Callable[..., Any]) -> dict[str, Any]:
    """The annotation of each field of a dataclass, or of each keyword-only parameter; Any where there is none."""
    if dataclasses.is_dataclass(owner):
        hints = typing.get_type_hints(owner, include_extras=True)
        return {field.name: hints[field.name] for field in dataclasses.fields(owner)}
    function = owner.__init__ if isinstance(owner, type) else owner  # type: ignore[misc]
    parameters = inspect.signature(owner).parameters.values()
    written = {
        parameter.name: Any if parameter.annotation is parameter.empty else parameter.annotation
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    bare = types.SimpleNamespace(__annotations__=written)
    return typing.get_type_hints(bare, function.__globals__, include_extras=True)


def _checked(hints: Mapping[str, Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in hints:
            raise unknown("setting", f"{prefix}{key}", [f"{prefix}{name}" for name in hints])
    return {key: _value(hints[key], value, f"{prefix}{key}") for key, value in values.items()}


def _value(wanted: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Annotated:
        checked = _value(arguments[0], value, where)
        for bound in arguments[1:]:
            measured = len(checked) if isinstance(bound, Length) else checked
            if checked is not None and measured not in bound:
                wants = f"a list {bound}" if isinstance(bound, Length) else f"a number {bound.in_words(measured)}"
                raise UserError(f"{where} is {_shown(value)}", hint=f"give {wants}")
        return checked
    if origin in (typing.Union, types.UnionType):
        return _first(arguments, value, where)
    if origin is typing.Literal:
        return _choice(arguments, value, where)
    if wanted is not str and isinstance(value, Written) and isinstance(value.value, (list, dict)):
        value = value.value
    if dataclasses.is_dataclass(wanted) and isinstance(value, Mapping):
        return make(wanted, value, where)  # type: ignore[arg-type]
    if typing.is_typeddict(wanted) and isinstance(value, Mapping):
        missing = sorted(wanted.__required_keys__ - value.keys())
        if missing:
            raise UserError(f"{where} lacks {missing[0]}")
        entries = typing.get_type_hints(wanted, include_extras=True).items()
        return {**value, **{key: _value(hint, value[key], f"{where}.{key}") for key, hint in entries if key in value}}
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_value(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    elif origin in (list, collections.abc.Sequence) and isinstance(value, (list, tuple)):
        places = [f"{where}[{at}]" if origin is list else where for at in range(len(value))]
        return type(value)(_value(arguments[0], item, place) for item, place in zip(value, places, strict=True))
    elif origin in (dict, collections.abc.Mapping) and isinstance(value, Mapping):
        return {_name(key, where): _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _scalar(wanted, value, where)


def _name(key: Any, where: str) -> str:
    """A key of a mapping; numbers are names too. Raises UserError for null and truth values, which YAML reads."""
    if isinstance(key, (str, int)) and not isinstance(key, bool):
        return str(key)
    raise UserError(f"{where} has the key {key!r}", hint="put the name in quotes")


def _first(kinds: Sequence[Any], value: Any, where: str) -> Any:
    """The value as the first of several kinds that it is of; a word that reads as a number or a truth value is one."""
    bare = value.value if isinstance(value, Written) and (str not in kinds or value.text == "null") else value
    if bare is None and type(None) in kinds:
        return None
    others = sorted((kind for kind in kinds if kind is not type(None)), key=lambda kind: kind is str)
    problems: list[UserError] = []
    for kind in others:
        try:
            return _value(kind, value, where)
        except UserError as error:
            problems.append(error)
    choices = [kind for kind in others if typing.get_origin(kind) is typing.Literal]
    hints = [error.hint for kind, error in zip(others, problems, strict=True) if kind not in choices]
    if choices and hints:
        words = [str(word) for kind in choices for word in typing.get_args(kind)]
        raise UserError(f"{where} is {_shown(value)}", hint=" or ".join([*hints, *words]))
    raise problems[-1]


def _choice(choices: Sequence[Any], value: Any, where: str) -> Any:
    text = value.text if isinstance(value, Written) else value
    for candidate in (value.value if isinstance(value, Written) else value, text):
        if any(candidate == choice and type(candidate) is type(choice) for choice in choices):
            return candidate
    raise unknown("value", str(text), [str(choice) for choice in choices], where=where)


def _scalar(wanted: Any, value: Any, where: str) -> Any:
    if wanted is str and isinstance(value, Written):
        if value.may_name or isinstance(value.value, (str, list, dict)):
            return value.text
        quoted = shlex.quote(f"{where}='{value.text}'")
        raise UserError(f"{where} is {value.text}", hint=f"give a word; as a word it is written {quoted}")
    value = read(value)
    if wanted is Any:
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted is float and number and math.isfinite(value):
        return float(value)
    if wanted is int and number and math.isfinite(value) and value == int(value):
        return int(value)
    if wanted is Path and isinstance(value, (str, Path)) and str(value):
        return expanded(value)
    if wanted not in (int, float) and isinstance(wanted, type) and type(value) is wanted:
        return value
    raise UserError(f"{where} is {_shown(value)}", hint=f"give {_described(wanted)}")


def expanded(path: str | Path) -> Path:
    """The path, a leading "~" (which shells leave behind an equals sign) being a home folder where there is such."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _described(wanted: Any) -> str:
    simple = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", Path: "a path"}
    if wanted in simple:
        return simple[wanted]
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}"
    if origin in (tuple, list, collections.abc.Sequence):
        return "a list, as in [a,b]"
    if typing.is_typeddict(wanted):
        return f"an object with {', '.join(sorted(wanted.__required_keys__))}"
    return "{name: value} as in the YAML"


def _shown(value: Any) -> str:
    return value.text if isinstance(value, Written) else f"{value!r:.80}"
