"""Whole commands on a few pictures: train, evaluate what was trained, and go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from adbench.cli.main import main
from cli.few_pictures import TRAIN


@pytest.fixture(autouse=True)
def _in_the_working_folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)


def run_of(trained: Path) -> Path:
    (run,) = (trained / "outputs" / "train" / "adaclip" / "folder").iterdir()
    return run


def results(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())["rows"]


def test_a_training_leaves_weights_and_its_settings(trained: Path) -> None:
    run = run_of(trained)
    assert {"config.yaml", "run.json", "weights.json", "weights.safetensors"} <= {file.name for file in run.iterdir()}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["method"]["k_clusters"] == 3
    assert config["trainer"]["epochs"] == 1


def test_no_folders_of_hydra_are_left(trained: Path) -> None:
    assert not list(trained.rglob(".hydra"))
    assert not list(trained.rglob("*.log"))


def test_eval_takes_everything_from_the_latest_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "checkpoint=latest", "data=folder", "data.root=others", f"out={tmp_path}"]) == 0
    rows = results(tmp_path)
    assert [row["class_name"] for row in rows] == ["cloth", "mean"]
    assert all(row["zero_shot"] for row in rows)
    assert rows[0]["backbone"] == "demo"
    captured = capsys.readouterr()
    assert "cloth" in captured.out
    for name in ("results.json", "results.csv", "results.md", "report.html"):
        assert str(tmp_path / name) in captured.out
        assert (tmp_path / name).is_file()
    for word in ("adaclip", "demo_clip", "folder: 6 images, 3 anomalous, 1 class (cloth)", "cpu"):
        assert word in captured.err
    hyperparameters = yaml.safe_load((tmp_path / "config.yaml").read_text())["method"]
    assert (hyperparameters["k_clusters"], hyperparameters["prompting_length"]) == (3, 3)


def test_a_class_that_was_trained_on_is_marked(tmp_path: Path) -> None:
    assert main(["eval", "method=adaclip", "data=folder", "data.root=pictures", f"out={tmp_path}"]) == 0
    assert [row["zero_shot"] for row in results(tmp_path)] == [False, False]


def test_a_weights_file_knows_itself(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes((run_of(trained) / "weights.safetensors").read_bytes())
    out = tmp_path / "out"
    assert main(["eval", f"checkpoint={file}", "data=folder", "data.root=others", f"out={out}"]) == 0
    assert results(out)[0]["weights"] == json.loads((run_of(trained) / "weights.json").read_text())["sha256"]


def test_untrained_weights_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    words = ["method=adaclip", "clip=demo", "checkpoint=untrained", "data=folder", "data.root=others"]
    for out in ("a", "b"):
        assert main(["eval", *words, f"out={tmp_path / out}"]) == 0
    first, second = results(tmp_path / "a")[0], results(tmp_path / "b")[0]
    assert first["pixel_ap"] == second["pixel_ap"]
    assert first["weights"] is None
    assert first["zero_shot"] is True


@pytest.mark.parametrize("method", ["clip_zeroshot", "median_colour"])
def test_what_is_not_trained_needs_no_checkpoint(method: str, tmp_path: Path) -> None:
    words = [f"method={method}", "clip=demo", "data=[folder,piped_mini]", "data.folder.root=others"]
    assert main(["eval", *words, "data.piped_mini.classes=[PA_BDP01_TL]", f"out={tmp_path}"]) == 0
    assert [(row["dataset"], row["class_name"]) for row in results(tmp_path)] == [
        ("folder", "cloth"),
        ("folder", "mean"),
        ("piped_mini", "PA_BDP01_TL"),
        ("piped_mini", "mean"),
    ]


def test_a_finished_training_is_not_repeated(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(trained)
    before = (run / "weights.safetensors").stat().st_mtime_ns
    assert main(["train", *TRAIN, f"out={run}"]) == 0
    assert (run / "weights.safetensors").stat().st_mtime_ns == before
    assert "had finished before" in capsys.readouterr().out


def test_other_settings_do_not_touch_a_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = (run_of(trained) / "config.yaml").read_text()
    assert main(["train", *TRAIN, "seed=5", f"out={run_of(trained)}"]) == 2
    assert "another training" in capsys.readouterr().err
    assert (run_of(trained) / "config.yaml").read_text() == config


def test_an_interrupted_training_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: object, **_settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adbench.engine.train.train", interrupted)
    assert main(["train", *TRAIN, f"out={tmp_path / 'my run'}"]) == 130
    line = capsys.readouterr().err.splitlines()[-1]
    assert "Go on with: python -m adbench train method=adaclip" in line
    assert line.endswith(f"'out={tmp_path / 'my run'}'")


def test_show_prints_the_settings_and_runs_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", *TRAIN, f"out={tmp_path / 'none'}", "--show"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["method"]["name"] == "adaclip"
    assert not (tmp_path / "none").exists()


def test_a_run_is_started_once_more_with_further_words(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    first, again = tmp_path / "first", tmp_path / "again"
    words = ["method=median_colour", "clip=demo", "data=folder", "data.root=pictures", "seed=7"]
    assert main(["eval", *words, f"out={first}"]) == 0
    facts = json.loads((first / "run.json").read_text())
    assert facts["overrides"] == [*words, f"out={first}"]
    assert facts["command_line"].startswith("python -m adbench eval method=median_colour")
    assert {"git", "versions", "adbench"} <= set(facts)
    assert main(["eval", f"rerun={first}", "seed=8", f"out={again}"]) == 0
    assert [row["eval_seed"] for row in results(again)] == [8, 8]
    assert main(["train", f"rerun={first}"]) == 2
    assert "this is a run of eval, not of train" in capsys.readouterr().err
