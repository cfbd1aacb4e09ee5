"""MuSc reproduces what the authors' code recorded, for any batch size and order; other settings are noticed."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.parity.cases import compute, read_case
from adbench.parity.comparison import compare
from recorded import FIXTURES


@pytest.mark.parametrize("name", ["one_set", "two_subsets_visa"])
@pytest.mark.parametrize("size", [1, 50])
def test_any_batch_size_gives_the_recorded_tensors(name, size):
    case, tensors = read_case(FIXTURES / "musc" / name)
    assert not any(row.differs for row in compare(case, tensors, compute(case | {"batch_size": size}, tensors)))


def test_any_order_gives_the_recorded_tensors():
    case, tensors = read_case(FIXTURES / "musc" / "two_subsets_visa")
    order = np.random.default_rng(0).permutation(len(tensors["input/images"]))
    shuffled = {key: value[order] if key.startswith("input/") else value for key, value in tensors.items()}
    ours = compute(case, shuffled)
    for key in ("expected/image_score", "expected/anomaly_map", "expected/patch_scores"):
        np.testing.assert_allclose(ours[key], tensors[key][order], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"interval": [0.0, 0.5]},
        {"interval": [0.1, 0.3]},
        {"k_list": [1, 2, 3]},
        {"r_list": [1]},
        {"feature_layers": [2]},
    ],
)
def test_another_setting_is_noticed(changes):
    case, tensors = read_case(FIXTURES / "musc" / "two_subsets_visa")
    case["hyperparameters"].update(changes)
    assert any(row.differs for row in compare(case, tensors, compute(case, tensors)))


@pytest.mark.parametrize("wrong", ["subset", "quick_gelu"])
def test_another_cut_or_activation_is_noticed(wrong):
    case, tensors = read_case(FIXTURES / "musc" / "two_subsets_visa")
    given = dict(tensors)
    if wrong == "subset":
        given["input/subset"] = np.zeros_like(tensors["input/subset"])
    else:
        case["backbone"] = case["backbone"] | {"quick_gelu": True}
    assert any(row.differs for row in compare(case, tensors, compute(case, given)))
