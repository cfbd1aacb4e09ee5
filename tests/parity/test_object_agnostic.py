"""AnomalyCLIP and FAPrompt reproduce the tensors recorded from the authors' code, through the ordinary methods."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

import numpy as np
import pytest

from adbench.engine.parity import compare, compute, read_case

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
CASES = sorted(path for name in ("anomalyclip", "faprompt") for path in (FIXTURES / name).iterdir())
WRONG = {"temperature": 0.0702, "deep_token_half_cast": False, "cls_ln_post": True, "prompt_suffix": ""}


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_case(folder):
    case, tensors = read_case(folder)
    rows = compare(case, tensors, compute(case, tensors))
    assert [row.name for row in rows if row.differs] == []
    required = json.loads((FIXTURES / "required.json").read_text())[case["method"]]
    missing = [
        row.name
        for row in rows
        if row.status == "not computed"
        and any(fnmatch.fnmatchcase(row.name.split("/", 1)[1], pattern) for pattern in required)
    ]
    assert missing == []


@pytest.mark.parametrize("method", ["anomalyclip", "faprompt"])
def test_recorded_tensors_are_never_read(method):
    case, tensors = read_case(next(path for path in CASES if path.parent.name == method))
    blinded = {key: np.full_like(value, 7) if key.startswith("expected") else value for key, value in tensors.items()}
    ours, again = compute(case, tensors), compute(case, blinded)
    assert ours.keys() == again.keys()
    assert all(np.array_equal(ours[key], again[key], equal_nan=True) for key in ours)


@pytest.mark.parametrize("setting", WRONG)
@pytest.mark.parametrize("method", ["anomalyclip", "faprompt"])
def test_a_wrong_setting_is_noticed(method, setting):
    case, tensors = read_case(next(path for path in CASES if path.parent.name == method and "infer" in path.name))
    if setting == "prompt_suffix":  # the recorded weights would be refused: their prompts have the full stop
        tensors = {key: value for key, value in tensors.items() if not key.startswith("method/")}
    case["hyperparameters"][setting] = WRONG[setting]
    assert any(row.differs for row in compare(case, tensors, compute(case, tensors)))


@pytest.mark.parametrize("method", ["anomalyclip", "faprompt"])
def test_images_one_by_one_give_the_recorded_tensors_too(method):
    case, tensors = read_case(next(path for path in CASES if path.parent.name == method and "infer" in path.name))
    image = 1
    one = {key: value[image : image + 1] if key.startswith("input/") else value for key, value in tensors.items()}
    single = case | {"class_names": case["class_names"][image : image + 1], "class_order": []}
    ours = compute(single, one)
    for key in ("expected/image_score", "expected/anomaly_map"):
        np.testing.assert_allclose(ours[key][0], tensors[key][image], atol=1e-5, rtol=1e-5)
