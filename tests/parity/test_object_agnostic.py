"""AnomalyCLIP and FAPrompt reproduce the tensors recorded from the authors' code, through the ordinary methods."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.parity.cases import compute, read_case
from adbench.parity.comparison import compare
from recorded import FIXTURES

CASES = sorted(path for name in ("anomalyclip", "faprompt") for path in (FIXTURES / name).iterdir())
WRONG = {"temperature": 0.0702, "deep_token_half_cast": False, "cls_ln_post": True, "prompt_suffix": ""}


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
