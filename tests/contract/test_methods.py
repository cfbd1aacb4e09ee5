"""Every registered method keeps to the contract: what `check-method` runs on a method, on a tiny CLIP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench import methods
from adbench.contract import CHECKS, Subject
from adbench.contract.subject import NotChecked
from small_methods import VARIANTS, small_settings
from tiny import make_tiny_clip, make_tiny_convnext
from tiny_vl4ad import SIZES, WORDS

VL4AD: dict[str, Any] = (
    SIZES
    | {"vocabulary": WORDS, "concepts_train": "many", "concepts": "many", "merge": "none", "window": 0}
    | {"short_side": 48, "crop": [48, 64]}
)


@pytest.fixture(scope="module", params=methods.names())
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A method with its pictures and backbone, which all of its checks share."""
    name: str = request.param
    return Subject(
        name=name,
        load_clip=make_tiny_convnext if "vit" not in methods.method_class(name).towers else make_tiny_clip,
        hyperparameters=VL4AD if name == "vl4ad" else small_settings(name),
        folder=tmp_path_factory.mktemp(name),
    )


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=str)
def test_variants_score_alone_as_in_a_batch_and_learn(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    given = small_settings(name) | settings
    subject = Subject(name=name, load_clip=make_tiny_clip, hyperparameters=given, folder=tmp_path)
    assert CHECKS["batch invariance"](subject)
    for check in ("gradients", "shares of a batch"):
        with contextlib.suppress(NotChecked):
            assert CHECKS[check](subject)


@pytest.mark.parametrize("check", ["batch invariance", "gradients"])
def test_vl4ad_on_a_vision_transformer(check: str, tmp_path: Path) -> None:
    subject = Subject(name="vl4ad", load_clip=make_tiny_clip, hyperparameters=VL4AD, folder=tmp_path)
    assert CHECKS[check](subject)


ALL = [pytest.param(check, id=name, marks=pytest.mark.cuda if name == "CUDA" else ()) for name, check in CHECKS.items()]


@pytest.mark.parametrize("check", ALL)
def test_the_contract(subject: Subject, check: Callable[[Subject], str]) -> None:
    try:
        assert check(subject)
    except NotChecked as why:
        if "CUDA" in str(why):
            pytest.skip(f"needs CUDA: {why}")
