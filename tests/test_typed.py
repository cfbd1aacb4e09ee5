"""Values against annotations: what is taken, what is refused, and what the refusal says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from adbench.errors import UserError
from adbench.typed import (
    Fraction,
    Length,
    NonEmpty,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Range,
    Written,
    check_arguments,
    make,
    read,
)


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: PositiveInt = 1
    rest: NonNegativeInt | None = None
    share: Fraction = 0.5
    scale: PositiveFloat = 1.0
    name: str | None = None
    kind: Literal["a", "b"] = "a"
    limit: Literal["auto"] | PositiveInt = "auto"
    flag: bool = False
    path: Path | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    sizes: Annotated[Sequence[PositiveInt], Length(2)] = (1, 2)
    layers: Annotated[Sequence[int], NonEmpty] | None = None
    mapping: Mapping[str, float] = field(default_factory=dict)
    either: str | Sequence[str] = ()
    inner: Inner = field(default_factory=Inner)


def made(**values: Any) -> Any:
    (key,) = values
    return getattr(make(Outer, values, "section"), key)


@pytest.mark.parametrize(
    ("key", "given", "taken"),
    [
        ("count", 3, 3),
        ("count", 3.0, 3),
        ("rest", None, None),
        ("limit", "auto", "auto"),
        ("limit", 4, 4),
        ("share", 1, 1.0),
        ("name", "x", "x"),
        ("name", Written(7, "007"), "007"),
        ("name", Written(True, "true"), "true"),
        ("name", Written(None, "null"), None),
        ("count", Written(7, "7"), 7),
        ("path", "a b/c", Path("a b/c")),
        ("pair", [1, 2], (1.0, 2.0)),
        ("names", ["x", Written(1000.0, "1e3")], ("x", "1e3")),
        ("sizes", [3, 4], [3, 4]),
        ("mapping", {"x": 1}, {"x": 1.0}),
        ("either", Written(0, "0"), "0"),
        ("either", ["x"], ["x"]),
        ("inner", {"rate": 2}, Inner(rate=2.0)),
    ],
)
def test_what_is_taken(key: str, given: Any, taken: Any) -> None:
    found = made(**{key: given})
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("count", 0, "section.count is 0. Give a number of at least 1"),
        ("count", True, "section.count is True. Give a whole number"),
        ("count", 1.5, "section.count is 1.5. Give a whole number"),
        ("count", "3", "section.count is '3'. Give a whole number"),
        ("count", None, "section.count is None"),
        ("count", math.inf, "section.count is inf"),
        ("rest", -1, "section.rest is -1. Give a number of at least 0"),
        ("share", 1.5, "section.share is 1.5. Give a number of at least 0 and at most 1"),
        ("scale", 0, "section.scale is 0. Give a number above 0"),
        ("scale", math.nan, "section.scale is nan. Give a number"),
        ("name", 3, "section.name is 3. Give a word"),
        ("limit", 0, "section.limit is 0. Give a number of at least 1 or auto"),
        ("limit", "all", "section.limit is 'all'. Give a whole number or auto"),
        ("kind", "c", "unknown value 'c' (section.kind). Known: a, b"),
        ("flag", "no", "section.flag is 'no'. Give true or false"),
        ("flag", 1, "section.flag is 1. Give true or false"),
        ("path", 3, "section.path is 3. Give a path"),
        ("pair", [1], "section.pair is [1]. Give a list of 2"),
        ("names", "x", "section.names is 'x'. Give a list, as in [a,b]"),
        ("sizes", [1], "section.sizes is [1]. Give a list of 2"),
        ("sizes", 2, "section.sizes is 2. Give a list"),
        ("sizes", [1, 0], "section.sizes is 0. Give a number of at least 1"),
        ("layers", [], "section.layers is []. Give a list of at least 1"),
        ("mapping", [1], "section.mapping is [1]. Give {name: value}"),
        ("mapping", {"x": "y"}, "section.mapping.x is 'y'. Give a number"),
        ("inner", 3, "section.inner is 3"),
        ("inner", {"rte": 3}, "unknown setting 'section.inner.rte'. Did you mean 'section.inner.rate'?"),
        ("cont", 3, "unknown setting 'section.cont'. Did you mean 'section.count'?"),
    ],
)
def test_what_is_refused(key: str, given: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        made(**{key: given})
    assert said in str(caught.value)


def test_arguments_of_a_function_are_its_keyword_only_ones() -> None:
    def function(root: Path, *, depth: Annotated[int, Range(1, 4)] = 1) -> None: ...

    assert check_arguments(function, {"depth": 4}, "data") == {"depth": 4}
    for values in ({"depth": 5}, {"root": "x"}):
        with pytest.raises(UserError, match=r"data\."):
            check_arguments(function, values, "data")


def test_written_values_read_as_they_are_all_the_way_down() -> None:
    assert read({"a": [Written(1, "1"), {"b": Written(None, "null")}]}) == {"a": [1, {"b": None}]}
