"""AA-CLIP's cases: the rate falls where a case says so, and another setting is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.parity.cases import compute, read_case
from adbench.parity.comparison import compare
from recorded import FIXTURES


def test_the_rate_falls_after_so_many_steps_as_a_case_says():
    case, tensors = read_case(FIXTURES / "aaclip" / "train_image_3steps")
    constant = compute(case, tensors)
    falling = compute(case | {"hyperparameters": case["hyperparameters"] | {"milestones": [1, 2]}}, tensors)

    def change(found, step):
        key = "image_adapter.det_proj.fc.weight"
        return found[f"expected/weights_after_{step + 1}/{key}"] - found[f"expected/weights_after_{step}/{key}"]

    assert abs(change(constant, 1)).max() > 1e-4
    np.testing.assert_allclose(change(falling, 1), change(constant, 1) / 2, atol=1e-7)
    assert abs(change(falling, 2)).max() < 0.6 * abs(change(falling, 1)).max()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("infer_industrial", {"domain": "medical"}),
        ("infer_industrial", {"text_adapt_weight": 0.11}),
        ("infer_industrial", {"image_adapt_weight": 0.11}),
        ("train_text_3steps", {"surgery_until_layer": 5}),
        ("train_text_3steps", {"surgery_axis": "tokens"}),
        ("train_text_3steps", {"text_levels": "all"}),
        ("train_text_3steps", {"text_norm_weight": 0.2}),
        ("train_image_3steps", {"milestones": [2]}),
    ],
    ids=str,
)
def test_another_setting_is_noticed(name, changes):
    case, tensors = read_case(FIXTURES / "aaclip" / name)
    case["hyperparameters"].update(changes)
    assert any(row.differs for row in compare(case, tensors, compute(case, tensors)))


def test_another_activation_is_noticed():
    case, tensors = read_case(FIXTURES / "aaclip" / "infer_industrial")
    case["backbone"] = case["backbone"] | {"quick_gelu": True}
    assert any(row.differs for row in compare(case, tensors, compute(case, tensors)))
