"""Every committed case is reproduced, whatever method it is of: nothing differs, nothing required is missing."""

from __future__ import annotations

import fnmatch
import json

import numpy as np
import pytest

from adbench.parity.cases import compute, read_case
from adbench.parity.comparison import compare
from recorded import CASES, FIXTURES

REQUIRED = json.loads((FIXTURES / "required.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_case_is_reproduced(name):
    case, tensors = read_case(CASES[name])
    rows = compare(case, tensors, compute(case, tensors))
    assert [row.name for row in rows if row.differs] == []
    absent = [row.name.split("/", 1)[1] for row in rows if row.status == "not computed"]
    patterns = REQUIRED[case["method"]]
    missing = [bare for bare in absent if any(fnmatch.fnmatchcase(bare, pattern) for pattern in patterns)]
    # A metric that is undefined has no finite recorded value to be compared with.
    assert [bare for bare in missing if bare not in case.get("expected_status", {})] == []


@pytest.mark.parametrize("name", CASES)
def test_recorded_tensors_are_never_read(name):
    case, tensors = read_case(CASES[name])
    blinded = {key: np.full_like(value, 7) if key.startswith("expected") else value for key, value in tensors.items()}
    ours, again = compute(case, tensors), compute(case, blinded)
    assert ours.keys() == again.keys()
    assert all(np.array_equal(ours[key], again[key], equal_nan=True) for key in ours)
