"""VisualAD's cases: another setting is noticed."""

from __future__ import annotations

import pytest

from adbench.parity.cases import compute, read_case
from adbench.parity.comparison import compare
from recorded import FIXTURES


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("infer_native_grid", {"load_ln_post": True}),
        ("infer_native_grid", {"gaussian_sigma": 1.9}),
        ("infer_native_grid", {"topk_ratio": 0.02}),
        ("train_4steps", {"token_grad_clip": 1e9}),
        ("train_4steps", {"weight_decay": 0.1}),
        ("train_4steps", {"margin": 0.4}),
        ("train_4steps", {"rest_lr_factor": 1.0}),
        ("train_4steps", {"epochs": 4}),
    ],
    ids=str,
)
def test_another_setting_is_noticed(name, changes):
    case, tensors = read_case(FIXTURES / "visualad" / name)
    case["hyperparameters"].update(changes)
    assert any(row.differs for row in compare(case, tensors, compute(case, tensors)))
