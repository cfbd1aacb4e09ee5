"""A method and a data set of a user's own file: trained, evaluated, shown, resumed, and missed where they are gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import adbench
from adbench.cli.main import main
from adbench.engine.weights import read_record
from adbench.plugins import METHODS
from cli.few_pictures import write_pictures
from plugged import DATA, METHOD, forgotten, write_plugin

WORDS = ["clip=demo", "data=folder", "data.root=pictures"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "pictures")
    write_plugin(tmp_path / "mine.py", METHOD)
    with forgotten():
        yield tmp_path


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(words) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_method_is_trained_and_evaluated_from_its_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "method=./mine.py", *WORDS, "out=run", "method.gain=3"]) == 0
    assert "adbench eval method=./mine.py checkpoint=run" in capsys.readouterr().out
    record = read_record(folder / "run")
    assert record is not None
    assert record.hyperparameters == {"gain": 3.0, "norm": "l2"}
    assert record.plugin is not None
    assert record.plugin["place"] == str(folder / "mine.py")
    told = json.loads((folder / "run" / "run.json").read_text())["plugins"]["method colour"]
    assert told == record.plugin

    assert main(["eval", "method=./mine.py", "checkpoint=run", *WORDS[1:], "out=tested"]) == 0
    results = json.loads((folder / "tested" / "results.json").read_text())
    assert results["run"]["hyperparameters"]["gain"] == 3.0
    assert results["rows"][0]["method"] == "colour"
    assert not any("plug-in" in note for note in results["rows"][0]["notes"])

    write_plugin(folder / "mine.py", METHOD + "# edited")
    assert main(["eval", "method=./mine.py", "checkpoint=run", *WORDS[1:], "out=again"]) == 0
    rows = json.loads((folder / "again" / "results.json").read_text())["rows"]
    assert any("plug-in has changed since" in note for note in rows[0]["notes"])
    assert "another training: plugin" in complaint(
        capsys, "train", "method=./mine.py", *WORDS, "method.gain=3", "out=run"
    )


def test_weights_alone_run_no_plugin(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "method=./mine.py", *WORDS, "out=run"]) == 0
    trace = folder / "trace"
    write_plugin(folder / "mine.py", f"open({str(trace)!r}, 'w')\n{METHOD}")
    METHODS.entries.pop("colour")
    METHODS._sources.pop("colour")
    line = complaint(capsys, "eval", "checkpoint=run", *WORDS[1:])
    assert "weights of method colour, a plug-in that is not there" in line
    assert f"Add method={folder / 'mine.py'}" in line
    with pytest.raises(adbench.engine.weights.UserError, match=r"load_plugin\(\".*mine\.py\"\)"):
        adbench.load_run(folder / "run")
    assert not trace.exists()
    adbench.load_plugin(folder / "mine.py")
    assert trace.exists()
    assert adbench.load_run(folder / "run").method.name == "colour"


def test_its_settings_are_checked_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "method.gain is 0" in complaint(capsys, "train", "method=./mine.py", *WORDS, "method.gain=0")
    line = complaint(capsys, "train", "method=./mine.py", *WORDS, "method.gian=1")
    assert "did you mean method.gain?" in line.lower()
    capsys.readouterr()
    assert main(["train", "method=./mine.py", "--help"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "settings of method=colour: Distance to a learned colour." in lines
    assert "method.gain=2.0 a number above 0" in lines
    assert "method.norm=l2 l1|l2" in lines
    assert main(["eval", "method=./mine.py", "data=folder", "--show"]) == 0
    assert "name: colour\n  gain: 2.0\n  norm: l2\n" in capsys.readouterr().out


def test_yaml_files_beside_the_plugin_are_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "# Colour\ndefaults:\n  - override /clip: demo\nmethod:\n  gain: 5.0\ntrainer:\n  epochs: 7\n"
    (folder / "colour.yaml").write_text(text)
    (folder / "colour_on_demo.yaml").write_text("trainer:\n  batch_size: 3\n")
    assert main(["train", "method=./mine.py", "data=folder", "--show"]) == 0
    shown = capsys.readouterr().out
    for line in ("gain: 5.0", "norm: l2", "epochs: 7", "batch_size: 3", "name: demo"):
        assert line in shown


def test_a_data_set_is_read_from_its_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shelf").mkdir()
    for kind in ("good", "bad"):
        for number in range(3):
            (folder / "pictures" / kind / f"{number}.png").rename(folder / "shelf" / f"{kind}_{number}.png")
    write_plugin(folder / "shelf.py", DATA)
    assert main(["data", "check", "./shelf.py", "data_dir=."]) == 0
    assert main(["data", "list", "./shelf.py"]) == 0
    words = ["method=median_colour", "data=./shelf.py", "data_dir=."]
    assert main(["eval", *words, "out=tested"]) == 0
    told = json.loads((folder / "tested" / "results.json").read_text())
    assert [row["n_images"] for row in told["rows"]] == [6, 6]
    assert told["run"]["data"][0]["plugin"]["place"] == str(folder / "shelf.py")
    assert "data.suffix" in complaint(capsys, "eval", *words, "data.sufix=1")
    capsys.readouterr()
    assert main(["eval", "data=./shelf.py", "--help"]) == 0
    assert "data.suffix=.png" in capsys.readouterr().out


def test_a_sweep_over_plugins(folder: Path) -> None:
    write_plugin(folder / "other.py", METHOD.replace('"colour"', '"shade"'))
    words = ["eval", "-m", "method=./mine.py,./other.py", *WORDS, "checkpoint=untrained", "out=sweep"]
    assert main(words) == 0
    table = (folder / "sweep" / "sweep.csv").read_text()
    assert "mine.py" in table
    assert "other.py" in table


def test_an_interrupted_training_goes_on_from_the_file(folder: Path) -> None:
    words = ["train", "method=./mine.py", *WORDS, "trainer.epochs=2"]
    assert main([*words, "out=whole"]) == 0
    assert main([*words, "out=whole"]) == 0  # finished: known again
    state = adbench.load_run(folder / "whole").method.learnable_state()
    assert not torch.equal(state["colour"], torch.full((3,), 0.1))


def test_a_training_on_a_few_images_of_each_class_says_so(folder: Path) -> None:
    words = ["method=./mine.py", *WORDS]
    assert main(["train", *words, "trainer.aux_per_class=3", "seed=5", "out=few"]) == 0
    record = read_record(folder / "few")
    assert record is not None
    assert record.data is not None
    assert record.data[0]["n_images"] == 3
    assert record.remarks == ["trained on 3 images of each class, drawn by seed 5"]
