"""--profile: a trace of the first batches, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from adbench.cli.main import main
from adbench.engine.profile import N_UNITS, Profile
from adbench.engine.progress import Quiet
from adbench.errors import UserError


def test_only_the_first_units_are_recorded(tmp_path: Path) -> None:
    with Profile(Quiet()) as profile:
        with profile.track("work", 3) as advance:
            torch.ones(2).sin()
            advance(N_UNITS, {})
            torch.ones(2).cos()
            advance(1, {})
        (file,) = profile.write(tmp_path / "trace.json")
    names = {event.get("name") for event in json.loads(file.read_text())["traceEvents"]}
    assert "aten::sin" in names
    assert "aten::cos" not in names


def test_off_nothing_is_recorded_and_nothing_written(tmp_path: Path) -> None:
    with Profile(Quiet(), on=False) as profile:
        with profile.track("work", 1) as advance:
            advance(1, {})
        assert profile.write(tmp_path / "trace.json") == []
    assert not list(tmp_path.iterdir())


def test_where_nothing_ran_there_is_no_trace(tmp_path: Path) -> None:
    with Profile(Quiet()) as profile, pytest.raises(UserError, match="nothing was left to run"):
        profile.write(tmp_path / "trace.json")


def test_an_evaluation_leaves_its_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["method=median_colour", "data=piped_mini", "data.classes=[PA_BDP01_TL]", f"out={tmp_path}", "--profile"]
    assert main(["eval", *words]) == 0
    assert str(tmp_path / "trace.json") in capsys.readouterr().out
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_a_run_that_fails_leaves_none_and_lets_others_record(tmp_path: Path) -> None:
    words = ["method=median_colour", "data=folder", f"data.root={tmp_path}", f"out={tmp_path / 'out'}", "--profile"]
    assert main(["eval", *words]) == 2
    assert not list(tmp_path.rglob("trace.json"))
    test_only_the_first_units_are_recorded(tmp_path)


def test_a_sweep_is_not_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "-m", "method=median_colour", "data=demo", "seed=1,2", "--profile"]) == 2
    assert "--profile is of one run" in capsys.readouterr().err
