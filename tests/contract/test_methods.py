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
from tiny import make_tiny_clip, make_tiny_convnext
from tiny_vl4ad import SIZES, WORDS

TOKENS = {"deep_depth": 3, "dpam_layer": 3}
# What fits the tiny CLIP, and is quick.
SETTINGS: dict[str, dict[str, Any]] = {
    "adaclip": {"prompting_depth": 3, "prompting_length": 3, "k_clusters": 2},
    "anomalyclip": TOKENS | {"n_ctx": 4, "features_list": [3, 4]},
    "faprompt": TOKENS | {"num_abnormal_prompts": 3, "num_prior_patches": 3},
    "inctrl": {"out_layers": [2, 3]},
    "promptad": {"epochs": 2, "resolution": 24},
    "visualad": {"pos_encoding_rows": 20, "dropout": 0.0, "gaussian_sigma": 1.0},
    "vl4ad": SIZES
    | {"vocabulary": WORDS, "concepts_train": "many", "concepts": "many", "merge": "none", "window": 0}
    | {"short_side": 48, "crop": [48, 64]},
}

# Switches that change what is computed, on top.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("adaclip", {"use_hsf": False}),
    ("adaclip", {"hsf_variant": "paper"}),
    ("adaclip", {"prompting_type": "S"}),
    ("adaclip", {"prompting_type": "D"}),
    ("adaclip", {"prompting_type": "D", "prompting_branch": "L"}),
    ("adaclip", {"prompting_branch": "V"}),
    ("adaclip", {"prompting_branch": "L"}),
    ("adaclip", {"prompting_branch": ""}),
    ("adaclip", {"prompting_type": ""}),
    ("adaclip", {"dice_mode": "image", "prompt_fp16_rounding": True}),
    ("adaclip", {"prompting_depth": 1}),
    ("adaclip", {"prompting_depth": 4, "prompting_length": 12}),
    ("anomalyclip", {"features_list": [1, 4]}),
    ("anomalyclip", {"variant": "paper"}),
    ("faprompt", {"dap_select": "top_m"}),
    ("faprompt", {"variant": "paper"}),
    ("inctrl", {"variant": "paper"}),
    ("promptad", {"task": "cls"}),
    ("promptad", {"task": "seg"}),
    ("promptad", {"variant": "paper"}),
    ("promptad", {"n_pro": 2, "n_ctx": 3, "n_ctx_ab": 2, "memory_blocks": [0, 1, 2]}),
    ("promptad", {"map_blur_sigma": 0.0, "vv_last_blocks": 2}),
    ("aaclip", {"relu": True}),
    ("aaclip", {"variant": "paper"}),
    ("musc", {"divide_num": 1, "k_list": [1, 4], "r_list": [1]}),
]


@pytest.fixture(scope="module", params=methods.names())
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A method with its pictures and backbone, which all of its checks share."""
    name: str = request.param
    return Subject(
        name=name,
        load_clip=make_tiny_convnext if "vit" not in methods.method_class(name).towers else make_tiny_clip,
        hyperparameters=SETTINGS.get(name, {}),
        folder=tmp_path_factory.mktemp(name),
    )


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=str)
def test_variants_score_alone_as_in_a_batch_and_learn(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    given = SETTINGS.get(name, {}) | settings
    subject = Subject(name=name, load_clip=make_tiny_clip, hyperparameters=given, folder=tmp_path)
    assert CHECKS["batch invariance"](subject)
    for check in ("gradients", "shares of a batch"):
        with contextlib.suppress(NotChecked):
            assert CHECKS[check](subject)


@pytest.mark.parametrize("check", ["batch invariance", "gradients"])
def test_vl4ad_on_a_vision_transformer(check: str, tmp_path: Path) -> None:
    subject = Subject(name="vl4ad", load_clip=make_tiny_clip, hyperparameters=SETTINGS["vl4ad"], folder=tmp_path)
    assert CHECKS[check](subject)


@pytest.mark.parametrize("check", CHECKS.values(), ids=list(CHECKS))
def test_the_contract(subject: Subject, check: Callable[[Subject], str]) -> None:
    try:
        assert check(subject)
    except NotChecked as why:
        if "CUDA" in str(why):
            pytest.skip(f"needs CUDA: {why}")
