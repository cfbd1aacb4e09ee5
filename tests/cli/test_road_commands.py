"""VL4AD from Cityscapes to the road benchmarks: whole commands on tiny trees in the published layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.cli.main import main

HEIGHT, WIDTH = 48, 96
# Road, sidewalk, building, sky, car; caravan and unlabelled become 255
IDS = (7, 8, 11, 23, 26, 29, 0)
SMALL = [
    *("clip=toy_convnext", "method.num_queries=6", "method.hidden_dim=32", "method.num_points=64"),
    *("method.encoder_ffn=32", "method.decoder_ffn=32", "trainer.epochs=2", "trainer.batch_size=2"),
]


def picture(path: Path, seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def labels(path: Path, *ids: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """Vertical stripes of the given ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stripes = np.array(ids, np.uint8)[np.arange(size[1]) * len(ids) // size[1]]
    Image.fromarray(np.broadcast_to(stripes, size).copy()).save(path)


def write_sets(data: Path) -> None:
    for number, city in enumerate(("ulm", "bonn", "jena")):
        frame = f"{city}_00000{number}_000019"
        picture(data / f"cityscapes/leftImg8bit/train/{city}/{frame}_leftImg8bit.png", number)
        labels(data / f"cityscapes/gtFine/train/{city}/{frame}_gtFine_labelIds.png", *IDS)
    for number, size in enumerate(((40, 72), (56, 72))):
        root = data / "road_anomaly19/RoadAnomaly_jpg/frames"
        picture(root / f"cow{number}.jpg", number, size)
        labels(root / f"cow{number}.labels/labels_semantic.png", 0, 2, 0, size=size)
    for number in range(2):
        root = data / "smiyc_ra21/dataset_AnomalyTrack"
        picture(root / f"images/validation{number:04d}.jpg", number)
        labels(root / f"labels_masks/validation{number:04d}_labels_semantic.png", 0, 1, 255, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with data/ and a VL4AD trained on Cityscapes. Not to be changed."""
    folder = tmp_path_factory.mktemp("road")
    write_sets(folder / "data")
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


def test_its_weights_find_anomalies_on_two_benchmarks(tmp_path: Path) -> None:
    data = "data=[road_anomaly19,smiyc_ra21]"
    assert main(["eval", "method=vl4ad", "checkpoint=run", data, f"out={tmp_path}"]) == 0
    rows = rows_of(tmp_path)
    found = {row["dataset"]: row for row in rows if row["class_name"] == "road"}
    assert found["road_anomaly19"]["n_images"] == found["smiyc_ra21"]["n_images"] == 2
    for row in found.values():
        assert 0 <= row["pixel_ap"] <= 1
        assert 0 <= row["pixel_fpr95"] <= 1
        assert row["zero_shot"]
    assert any("validation" in note for note in found["smiyc_ra21"]["notes"])


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
