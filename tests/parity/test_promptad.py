"""PromptAD reproduces the tensors recorded from the authors' code, through the ordinary method."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

import numpy as np
import pytest

from adbench.engine.parity import compare, compute, read_case

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
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


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    case, tensors = read_case(CASES[name])
    rows = compare(case, tensors, compute(case, tensors))
    assert [row.name for row in rows if row.differs] == []
    required = json.loads((FIXTURES / "required.json").read_text())["promptad"]
    missing = [
        row.name
        for row in rows
        if row.status == "not computed"
        and any(fnmatch.fnmatchcase(row.name.split("/", 1)[1], pattern) for pattern in required)
    ]
    assert missing == []


@pytest.mark.parametrize("name", [TRAIN, INFER])
def test_recorded_tensors_are_never_read(name):
    case, tensors = read_case(CASES[name])
    blinded = {key: np.full_like(value, 7) if key.startswith("expected") else value for key, value in tensors.items()}
    ours, again = compute(case, tensors), compute(case, blinded)
    assert ours.keys() == again.keys()
    assert all(np.array_equal(ours[key], again[key]) for key in ours)


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
