"""WinCLIP and InCTRL reproduce the tensors recorded from the reference code, through the ordinary methods."""

from __future__ import annotations

import pytest

from adbench.parity.cases import compute, read_case
from adbench.parity.comparison import compare
from recorded import FIXTURES

CASES = sorted(case for method in ("winclip", "inctrl") for case in (FIXTURES / method).iterdir())


@pytest.mark.parametrize(
    ("case_name", "changes"),
    [
        ("winclip/few_shot_k2", {"temperature": 0.08}),
        ("winclip/few_shot_k2", {"prompt_ensemble": "inctrl22"}),
        ("inctrl/infer_k4_batch", {"residual_scale": 1.0}),
        ("inctrl/train_official_b4_k2", {"batch_layout": "corrected"}),
    ],
)
def test_another_switch_is_noticed(case_name, changes):
    case, tensors = read_case(FIXTURES / case_name)
    case["hyperparameters"].update(changes)
    rows = compare(case, tensors, compute(case, tensors))
    assert any(row.differs for row in rows)
