"""From plain YAML values to typed dataclasses, with errors that name the setting."""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from adbench.errors import UserError, unknown

_Made = TypeVar("_Made")

_WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", Path: "a path"}


def make(cls: type[_Made], values: Mapping[str, Any], where: str) -> _Made:
    """Build dataclass `cls` from `values`. `where` is the section's name ("trainer"; "" at the top) for messages.

    Raises UserError for an unknown key and for a value of another type; nothing is converted but int to float,
    str to Path and list to tuple.
    """
    prefix = f"{where}." if where else ""
    hints = typing.get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise unknown("setting", f"{prefix}{key}", [f"{prefix}{field}" for field in fields])
    return cls(**{key: _value(hints[key], value, f"{prefix}{key}") for key, value in values.items()})


def _value(wanted: Any, value: Any, where: str) -> Any:
    if wanted is Any:
        return value
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Literal:
        if value not in arguments:
            raise unknown("value", str(value), arguments, where=where)
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        *others, last = (argument for argument in arguments if argument is not type(None))
        for other in others:
            with contextlib.suppress(UserError):
                return _value(other, value, where)
        return _value(last, value, where)
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type) and isinstance(value, Mapping):
        return make(wanted, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_value(arguments[0], item, where) for item in value)
    if origin is not None and isinstance(value, Mapping) and issubclass(origin, Mapping):
        return {str(key): _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _scalar(wanted, value, where)


def _scalar(wanted: Any, value: Any, where: str) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is Path and isinstance(value, str):
        return Path(value).expanduser()
    if type(value) is wanted:
        return value
    raise UserError(
        f"{where} is {value!r}", mend=f"give {_WANTED.get(wanted, 'a list or {name: value} as in the YAML')}"
    )
