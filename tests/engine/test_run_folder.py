"""Run folders: made, found again, never mistaken for something else; files whole or not at all."""

from __future__ import annotations

import json

import pytest

from adbench.atomic import replacing, sweep, write_json, write_text
from adbench.engine.run_folder import FITTED, RunFolder, latest
from adbench.errors import UserError


def _finish(run):
    run.weights_path.with_suffix(".json").write_text("{}")
    return run


def test_two_runs_of_one_second_have_two_folders(tmp_path):
    first = RunFolder.create("train", "adaclip", "mvtec+colondb", outputs=tmp_path)
    second = RunFolder.create("train", "adaclip", "mvtec+colondb", outputs=tmp_path)

    assert first.path != second.path
    assert first.path.parent == tmp_path / "train" / "adaclip" / "mvtec+colondb"
    assert RunFolder.open(first.path).facts()["data"] == "mvtec+colondb"


def test_out_reopens_the_same_run(tmp_path):
    first = RunFolder.create("train", "adaclip", "demo", out=tmp_path / "run")
    created = first.facts()["created"]

    assert RunFolder.create("train", "adaclip", "demo", out=tmp_path / "run").facts()["created"] == created


def test_out_refuses_a_run_of_another_kind(tmp_path):
    RunFolder.create("train", "adaclip", "demo", out=tmp_path / "run")

    with pytest.raises(UserError, match="method 'adaclip' instead of 'winclip'"):
        RunFolder.create("train", "winclip", "demo", out=tmp_path / "run")


def test_out_refuses_a_folder_with_other_things(tmp_path):
    (tmp_path / "thesis.tex").write_text("\\chapter{}")

    with pytest.raises(UserError, match="not a run folder"):
        RunFolder.create("train", "adaclip", "demo", out=tmp_path)
    with pytest.raises(UserError, match="a file, not a folder"):
        RunFolder.create("train", "adaclip", "demo", out=tmp_path / "thesis.tex")


def test_latest_is_the_newest_finished_run_of_the_method(tmp_path):
    runs = [RunFolder.create("train", method, "demo", outputs=tmp_path) for method in ("a", "a", "b", "a")]
    for run in runs[:3]:
        _finish(run)

    assert latest(tmp_path, method="a") == runs[1]
    assert latest(tmp_path) == runs[2]
    with pytest.raises(UserError, match="no finished train run of method c"):
        latest(tmp_path, method="c")


def test_latest_of_evaluations_holds_what_is_asked_for(tmp_path):
    runs = [RunFolder.create("eval", "a", "demo", outputs=tmp_path) for _ in range(4)]
    for run in runs[:2]:
        (run.path / "weights_demo_k1.json").touch()
    for run in (runs[0], runs[2]):
        (run.path / "results.json").touch()

    assert latest(tmp_path, command="eval", holds=FITTED) == runs[0]
    assert latest(tmp_path, command="eval", holds=("results.json",)) == runs[2]
    with pytest.raises(UserError, match="no finished train run"):
        latest(tmp_path, holds=FITTED)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"old": 1})

    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"new": float("nan")})
    with pytest.raises(KeyboardInterrupt):
        _interrupted_write(path)

    assert json.loads(path.read_text()) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def _interrupted_write(path):
    with replacing(path) as temporary:
        temporary.write_text('{"new"')
        raise KeyboardInterrupt


def test_a_killed_write_leaves_only_a_temporary_file(tmp_path):
    (tmp_path / ".weights.json.x1.tmp").write_text('{"half')
    run = RunFolder.create("train", "adaclip", "demo", out=tmp_path)

    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]
    assert run.facts()["command"] == "train"


def test_sweep_spares_other_files(tmp_path):
    write_text(tmp_path / "kept.tmp", "")
    write_text(tmp_path / ".kept", "")
    sweep(tmp_path)

    assert len(list(tmp_path.iterdir())) == 2
