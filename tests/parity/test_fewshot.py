"""WinCLIP and InCTRL reproduce the tensors recorded from the reference code, through the ordinary methods."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

import pytest

from adbench.engine.parity import compare, compute, read_case

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
CASES = sorted(case for method in ("winclip", "inctrl") for case in (FIXTURES / method).iterdir())


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_case(folder):
    case, tensors = read_case(folder)
    rows = compare(case, tensors, compute(case, tensors))
    assert [row.name for row in rows if row.differs] == []
    required = json.loads((FIXTURES / "required.json").read_text())[case["method"]]
    missing = [
        row.name
        for row in rows
        if row.status == "not computed" and any(fnmatch.fnmatchcase(row.name.split("/", 1)[1], p) for p in required)
    ]
    assert missing == []


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
