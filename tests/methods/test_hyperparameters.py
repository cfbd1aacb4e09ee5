"""Every hyperparameter of every method refuses what it cannot be, in one line that names it."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from adbench import methods
from adbench.errors import UserError
from tiny import make_batch, make_tiny_clip

# What fits the tiny CLIP; what is tried wins.
TINY: dict[str, dict[str, Any]] = {
    "adaclip": {"k_clusters": 2},
    "anomalyclip": {"dpam_layer": 3},
    "faprompt": {"dpam_layer": 3},
    "inctrl": {"out_layers": [1, 2]},
}
JUNK: list[Any] = ["abc", "no", math.nan, math.inf, -3, 1.5, 0, 1, True, None, [], [0], ["x"], {"a": 1}, [[1]], 10**9]


def hyperparameters() -> Iterator[tuple[str, str]]:
    for name in methods.names():
        for key in methods.method_class(name).hyperparameter_defaults():
            yield name, key


@pytest.mark.parametrize(("name", "key"), list(hyperparameters()), ids=":".join)
def test_values_are_of_the_annotated_type_or_refused_by_name(name: str, key: str) -> None:
    cls = methods.method_class(name)
    default = cls.hyperparameter_defaults()[key]
    taken, refusals = [], []
    for value in JUNK:
        try:
            checked = cls.check_hyperparameters({key: value})
        except UserError as error:
            refusals.append(str(error))
            continue
        taken.append(checked[key])
    for value in taken:
        if isinstance(default, bool):
            assert isinstance(value, bool)
        elif isinstance(default, (int, float)) and value is not None:
            assert math.isfinite(value)
            assert not isinstance(value, bool)
        elif isinstance(default, str):
            assert isinstance(value, (str, dict))
    assert refusals
    assert all(f"method.{key}" in refusal for refusal in refusals)
    assert cls.check_hyperparameters({key: default})[key] == default


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("adaclip", "temperature", -100),
        ("adaclip", "gaussian_sigma", -1),
        ("adaclip", "k_clusters", 0),
        ("winclip", "scales", 2),
        ("winclip", "temperature", 0),
        ("inctrl", "head_hidden", [1]),
        ("promptad", "epochs", -1),
        ("vl4ad", "alpha", 2),
        ("faprompt", "local_weights", [1, -1]),
        ("anomalyclip", "feature_map_layer", []),
    ],
)
def test_ranges_hold(name: str, key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"method\.{key}"):
        methods.method_class(name).check_hyperparameters({key: value})


def test_every_hyperparameter_is_annotated() -> None:
    for name in methods.names():
        cls = methods.method_class(name)
        hints = typing.get_type_hints(cls.settings_class or cls.__init__, include_extras=True)
        assert set(cls.hyperparameter_defaults()) <= set(hints)


@pytest.fixture(scope="module")
def clip():
    return make_tiny_clip()


@pytest.mark.parametrize(("name", "key"), list(hyperparameters()), ids=":".join)
def test_what_is_built_scores(clip, name: str, key: str) -> None:
    """Whatever is not refused in one line is kept as it was given, and scores. VL4AD: a library's decoder, slow."""
    for value in [*JUNK, "", "official", 3, -0.5, 1e3, 1e30, 10**12, [1, 2], [-1, 2], [math.nan, 1.0]]:
        try:
            checked = methods.method_class(name).check_hyperparameters({key: value})
            if name == "vl4ad":
                continue
            torch.manual_seed(0)
            method = methods.build(name, clip, **{**TINY.get(name, {}), key: value})
        except UserError:
            continue
        assert method.hyperparameters[key] == checked[key] == value
        if not (method.needs_support or method.transductive):
            assert torch.isfinite(method.predict(make_batch(2)).scores).all()
