"""The recorded values of the reference code, within the tolerances of each case."""

from __future__ import annotations

import fnmatch
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adbench.parity.metrics import run_case

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
CASES = [*sorted((FIXTURES / "metrics").iterdir()), FIXTURES / "adaclip" / "f_eval_metrics"]
REQUIRED = ("pixel_*", "image_*", "aupro_200thr_numpy1", "aupro_exact_fpr*", "per_class", "average")
NOT_OURS = ("aupro_mvtec3d_*", "aupro_anomalib_*")  # other definitions, recorded for comparison


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_case(folder):
    case = json.loads((folder / "case.json").read_text())
    tensors = dict(np.load(folder / "tensors.npz"))
    inputs = {key: value for key, value in tensors.items() if key.startswith("input/")}

    ours = run_case(case, inputs)

    recorded = {key: value for key, value in tensors.items() if key.startswith("expected/")}
    assert any(matches(key.removeprefix("expected/"), REQUIRED) for key in recorded)
    for key, expected in recorded.items():
        name = key.removeprefix("expected/")
        if matches(name, NOT_OURS):
            continue
        tolerance = case["tolerance"].get(name, case["tolerance"]["default"])
        assert ours[key].shape == expected.shape
        np.testing.assert_allclose(ours[key], expected, atol=tolerance["atol"], rtol=tolerance["rtol"], err_msg=key)
    for name in case.get("expected_status", {}):
        assert np.isnan(ours[f"expected/{name}"])


def test_importing_the_metrics_imports_no_torch():
    code = "import sys, adbench.metrics, adbench.parity.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
