"""VL4AD from Cityscapes to the road benchmarks: whole commands on tiny trees in the published layouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.cli.main import main
from road_trees import write_all

SMALL = [
    *("clip=toy_convnext", "method.num_queries=6", "method.hidden_dim=32", "method.num_points=64"),
    *("method.encoder_ffn=32", "method.decoder_ffn=32", "trainer.epochs=2", "trainer.batch_size=2"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with data/ and a VL4AD trained on Cityscapes. Not to be changed."""
    folder = tmp_path_factory.mktemp("road")
    write_all(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "method=vl4ad", "data=cityscapes", "out=run", *SMALL]) == 0
    return folder


@pytest.fixture(autouse=True)
def _in_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def rows_of(out: Path) -> list[dict]:
    return json.loads((out / "results.json").read_text())["rows"]


def test_a_training_on_cityscapes_leaves_a_small_file_of_weights(folder: Path) -> None:
    record = json.loads((folder / "run" / "weights.json").read_text())
    assert record["data"][0]["name"] == "cityscapes"
    assert record["hyperparameters"]["vocabulary"] == "cityscapes"
    assert (folder / "run" / "weights.safetensors").stat().st_size < 2e6
    curve = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    assert {"class", "mask", "dice", "loss"} <= set(curve[-1])


def test_its_weights_are_measured_on_the_road_benchmark(tmp_path: Path) -> None:
    assert main(["eval", "method=vl4ad", "checkpoint=run", "data=road", "eval.heat_maps=1", f"out={tmp_path}"]) == 0
    found = {row["dataset"]: row for row in rows_of(tmp_path) if row["class_name"] == "road"}
    assert set(found) >= {"road_anomaly19", "smiyc_ra21", "smiyc_ro21", "fs_lostandfound", "fs_static"}
    for name, row in found.items():
        assert 0 <= row["pixel_ap"] <= 1, name
        assert 0 <= row["pixel_fpr95"] <= 1, name
        assert row["zero_shot"], name
    assert any("validation" in note for note in found["smiyc_ra21"]["notes"])
    assert list((tmp_path / "heatmaps").rglob("*.png"))


@pytest.mark.parametrize("switch", ["method.merge=none", "method.ood=near_vehicle", "method.out_vocab=true"])
def test_switches_of_testing_need_no_training(tmp_path: Path, switch: str) -> None:
    words = ["method=vl4ad", "checkpoint=run", "data=road_anomaly19", switch, f"out={tmp_path}"]
    assert main(["eval", *words]) == 0
    (row,) = (row for row in rows_of(tmp_path) if row["class_name"] == "road")
    named = [note for note in row["notes"] if note == "OOD prompts: near_vehicle"]
    assert bool(named) == ("near_vehicle" in switch)


def test_what_was_trained_cannot_be_changed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["method=vl4ad", "checkpoint=run", "data=road_anomaly19", "method.concepts_train=names"]
    assert main(["eval", *words, f"out={tmp_path}"]) == 2
    assert "method.concepts_train" in capsys.readouterr().err


def test_data_without_label_maps_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "method=vl4ad", "data=piped_mini", "clip=toy_convnext"]) == 2
    assert "label maps" in capsys.readouterr().err


def test_words_follow_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "method=vl4ad", "data=road_demo", "clip=demo", "--show"]) == 0
    assert "vocabulary: road_demo" in capsys.readouterr().out
    assert main(["train", "method=vl4ad", "data=cityscapes", "clip=demo", "--show"]) == 0
    assert "vocabulary: cityscapes" in capsys.readouterr().out
