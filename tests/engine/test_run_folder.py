"""Run folders: made, found again, never mistaken for something else; files whole or not at all."""

from __future__ import annotations

import errno
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from adbench.atomic import replacing, sweep, write_json, write_text
from adbench.engine.run_folder import FITTED, RunFolder, latest, runs_of
from adbench.errors import UserError, from_system


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
    (tmp_path / ".adbench.x1.tmp").write_text('{"half')
    run = RunFolder.create("train", "adaclip", "demo", out=tmp_path)

    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "run.json"]
    assert run.facts()["command"] == "train"


def test_sweep_spares_other_files(tmp_path):
    for name in ("kept.tmp", ".kept", ".letter.tmp", ".weights.json.x1.tmp"):
        write_text(tmp_path / name, "")
    sweep(tmp_path, alone=True)

    assert len(list(tmp_path.iterdir())) == 4


def test_a_refused_folder_is_left_as_it_was(tmp_path):
    for name in (".letter.tmp", "notes.txt", ".adbench.x1.tmp"):
        (tmp_path / name).write_text("mine")

    with pytest.raises(UserError, match=r"it has no run\.json"):
        RunFolder.create("eval", "adaclip", "demo", out=tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".adbench.x1.tmp", ".letter.tmp", "notes.txt"]


@pytest.mark.parametrize("content", ["", "[]", '{"command": "train"}', '{"command": NaN}', "[" * 100_000, "\xff"])
def test_a_damaged_run_json_is_said_in_one_line(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content.encode("latin-1"))

    with pytest.raises(UserError, match="not a run folder") as caught:
        RunFolder.create("train", "adaclip", "demo", out=tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no finished train run"):
        latest(tmp_path)


@pytest.mark.parametrize("content", ["a: [", "- 1", "clip: 5", "support: {k: 3}", "\x00"])
def test_a_damaged_config_is_said_in_one_line(tmp_path, content):
    run = RunFolder.create("train", "adaclip", "demo", out=tmp_path / "run")
    assert run.config() == {}
    run.write_config(content)

    with pytest.raises(UserError, match=r"config\.yaml") as caught:
        run.config()
    assert "\n" not in str(caught.value)


def test_a_claimed_folder_is_its_own(tmp_path):
    with RunFolder.claim("train", "adaclip", "demo", out=tmp_path / "run") as run:
        (run.path / ".adbench.x1.tmp").touch()  # of a write at work
        with run.locked():
            assert (run.path / ".adbench.x1.tmp").exists()
        with pytest.raises(UserError, match="another process"):
            RunFolder.create("train", "adaclip", "demo", out=run.path)
        with ThreadPoolExecutor() as pool, pytest.raises(UserError, match="another process"):
            pool.submit(lambda: run.locked().__enter__()).result()
        assert (run.path / ".adbench.x1.tmp").exists()

    with run.locked():
        assert not (run.path / ".adbench.x1.tmp").exists()


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(_file, _operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.warns(UserWarning, match="knows no locks"):
        RunFolder.create("train", "adaclip", "demo", out=tmp_path / "run")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_synchronise_takes_files(tmp_path, monkeypatch, number):
    def refuse(*_arguments):
        raise OSError(number, "not here")

    monkeypatch.setattr("os.fsync", refuse)
    monkeypatch.setattr("pathlib.Path.chmod", refuse)
    write_text(tmp_path / "file", "whole")

    assert (tmp_path / "file").read_text() == "whole"


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    write_text(tmp_path / "file", "old")

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(tmp_path / "file", "new")

    assert str(from_system(caught.value)).startswith(f"No space left on device ({tmp_path / 'file'}). Free some space")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_names_of_255_bytes_can_be_written(tmp_path):
    write_text(tmp_path / ("n" * 255), "whole")

    assert (tmp_path / ("n" * 255)).read_text() == "whole"


def test_many_data_sets_have_a_folder_of_bounded_name(tmp_path):
    data = "+".join(f"data_set_{number}" for number in range(40))
    run = RunFolder.create("eval", "adaclip", data, outputs=tmp_path)

    assert run.path.parent == runs_of(tmp_path, "eval", "adaclip", data)
    assert run.facts()["data"] == data
