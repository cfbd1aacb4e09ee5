"""AdaCLIP reproduces the tensors recorded from the authors' code, through the ordinary method."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.cli.parity import run
from adbench.errors import UserError
from adbench.parity.cases import compute, read_case
from adbench.parity.comparison import compare, tolerance_of
from recorded import FIXTURES

CASES = sorted((FIXTURES / "adaclip").iterdir())


def test_a_wrong_constant_is_noticed():
    case, tensors = read_case(CASES[1])
    case["hyperparameters"]["temperature"] = 101.0
    rows = compare(case, tensors, compute(case, tensors))
    assert any(row.differs for row in rows)


def test_command_writes_ours_and_compares(tmp_path, capsys):
    out = tmp_path / "ours.npz"
    assert run([str(CASES[1]), "--out", str(out)]) == 0
    with np.load(out) as ours:
        assert "expected/anomaly_map" in ours.files
    assert run([str(CASES[1])]) == 0
    assert "0 differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no case given"),
        (["x", "--ot"], "unknown option"),
        (["--out"], "lacks its value"),
        (["nowhere"], "case.json"),
    ],
)
def test_bad_arguments_are_one_clear_line(argv, message):
    with pytest.raises(UserError, match=message):
        run(argv)


def test_tolerance_precedence():
    rules = {
        "default": {"atol": 0},
        "a*": {"atol": 1},
        "ab*": {"atol": 2},
        "abc": {"atol": 3},
        "expected64/*": {"atol": 4},
        "x, y*": {"atol": 5},
    }
    found = {key: tolerance_of(key, rules)["atol"] for key in ("expected/a1", "expected/ab1", "expected/abc")}
    assert found == {"expected/a1": 1, "expected/ab1": 2, "expected/abc": 3}
    assert tolerance_of("expected64/abc", rules)["atol"] == 4
    assert tolerance_of("expected/yes", rules)["atol"] == 5
    assert tolerance_of("expected/z", rules)["atol"] == 0


def test_comparison_sees_nan_shape_and_outliers():
    case = {"tolerance": {"default": {"atol": 0.1}, "w": {"atol": 0, "allow_fraction_outside": 0.5, "hard_atol": 1}}}
    recorded = {"expected/v": np.zeros(4), "expected/w": np.zeros(4), "expected/n": np.array([np.nan])}

    def status(**ours):
        return {
            row.name[9:]: row.status for row in compare(case, recorded, {f"expected/{k}": v for k, v in ours.items()})
        }

    assert status(v=np.full(4, 0.1), w=np.array([0, 0, 1, 1.0]), n=np.array([np.nan])) == dict.fromkeys("nvw", "ok")
    bad = status(v=np.array([0, np.nan, 0, 0]), w=np.array([0, 0, 0, 1.1]), n=np.array([0.0]))
    assert set(bad.values()) == {"DIFFERS"}
    assert "shape" in status(v=np.zeros(3), w=np.zeros(4), n=np.zeros(1))["v"]
    assert status(v=np.zeros(4))["w"] == "not computed"
