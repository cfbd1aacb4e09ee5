"""PromptAD reproduces the tensors recorded from the authors' code, through the ordinary method."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.parity.cases import compute, read_case
from adbench.parity.comparison import compare
from recorded import FIXTURES

CASES = {path.name: path for path in sorted((FIXTURES / "promptad").iterdir())}
TRAIN, INFER = "train_seg_carpet_2shot", "infer_cls_bottle_2shot"
WRONG = {
    "margin_axis": "channels",
    "logit_scale": "exp",
    "lap_position": "after_noun",
    "prototype": "mean_of_normalised",
    "lambda1": 1.0,
    "vv_last_blocks": 6,
    "memory_tap": "block_output",
}


@pytest.mark.parametrize("setting", WRONG)
def test_a_wrong_setting_is_noticed(setting):
    case, tensors = read_case(CASES[TRAIN])
    case["hyperparameters"][setting] = WRONG[setting]
    assert any(row.differs for row in compare(case, tensors, compute(case, tensors)))


def test_images_one_by_one_give_the_recorded_tensors_too():
    case, tensors = read_case(CASES[INFER])
    one = {key: value[2:3] if key.startswith("input/") else value for key, value in tensors.items()}
    ours = compute(case, one)
    for key in ("expected/image_score", "expected/visual_grid"):
        np.testing.assert_allclose(ours[key], tensors[key][2:3], atol=1e-5)
