"""The record inside a weights file, checked field by field: files are copied, edited and damaged."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, TypedDict


class _Backbone(TypedDict):
    name: str
    weights_sha256: str
    quick_gelu: bool


class Backbone(_Backbone, total=False):
    """What a backbone says of itself."""

    source: str
    image_size: int
    native_size: int
    patch_size: int
    embed_dim: int


class _TrainingSet(TypedDict):
    """One of the sets that weights were trained on."""

    name: str
    classes: list[str]
    n_images: int
    fingerprint: str


class TrainingSet(_TrainingSet, total=False):
    """The same with the hashes of its images."""

    images: str


class Start(TypedDict):
    """The weights that a training started from."""

    sha256: str
    data: list[TrainingSet] | None


class _SelectionSet(TypedDict):
    name: str
    classes: list[str]


class SelectionSet(_SelectionSet, total=False):
    """One of the sets that weights were selected on."""

    images: str


class _Selection(TypedDict):
    rule: str
    data: list[SelectionSet] | None


class Selection(_Selection, total=False):
    """By which rule weights were selected."""

    metric: str | None
    value: float | None
    epoch: int | None
    step: int | None


class Support(TypedDict):
    """The images of a class that a method was fitted to."""

    dataset: str
    class_name: str
    k: int
    source: str
    seed: int | None
    paths: list[str]
    pool_size: int
    pool_sha256: str
    flags: dict[str, Any]


class Adaptation(TypedDict):
    """What weights were fitted to."""

    dataset: str
    k: int
    seed: int | None
    supports: list[Support]


_NESTED: dict[str, Any] = {
    "backbone": Backbone,
    "data": list[TrainingSet] | None,
    "selection": Selection | None,
    "start": Start | None,
    "adaptation": Adaptation | None,
}
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


def fault_of(found: Mapping[str, Any], fields: Mapping[str, Any], required: typing.Iterable[str]) -> str:
    """What is wrong with a record of these `fields` (name -> type); empty if nothing is.

    Entries within may have further keys; the record itself may not: this version would not know what they change.
    """
    for name in found:
        if name not in fields:
            return f"its field {name:.100} is unknown to this version"
    for name in required:
        if name not in found:
            return f"its field {name} is missing"
    for name, value in found.items():
        fault = _fault(value, _NESTED.get(name, fields[name]), name)
        if fault:
            return fault
    return ""


def _fault(value: Any, wanted: Any, place: str) -> str:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return ""
    if origin in (typing.Union, types.UnionType):
        faults = [_fault(value, one, place) for one in arguments if (value is None) == (one is type(None))]
        return next((fault for fault in faults if fault), "") if faults else f"its {place} must not be null"
    if typing.is_typeddict(wanted):
        if not isinstance(value, dict):
            return f"its {place} is no object with {', '.join(sorted(wanted.__required_keys__))}"
        missing = sorted(wanted.__required_keys__ - value.keys())
        if missing:
            return f"its {place} lacks {missing[0]}"
        hints = typing.get_type_hints(wanted)
        faults = [_fault(value[key], hint, f"{place}.{key}") for key, hint in hints.items() if key in value]
        return next((fault for fault in faults if fault), "")
    if origin is list:
        if not isinstance(value, list):
            return f"its {place} is no list"
        faults = [_fault(item, arguments[0], f"{place}[{index}]") for index, item in enumerate(value)]
        return next((fault for fault in faults if fault), "")
    if origin is dict:
        return "" if isinstance(value, dict) else f"its {place} is no object"
    fits = type(value) is wanted or (wanted is float and type(value) is int)
    return "" if fits else f"its {place} is not {_WORDS[wanted]}"
