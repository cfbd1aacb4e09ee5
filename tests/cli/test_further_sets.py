"""Data sets with rules of their own, from their folders to the table: MVTec LOCO AD, MVTec AD 2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.cli.main import main
from adbench.report.results import read_results
from cli.few_pictures import picture

CLIP = ["eval", "method=clip_zeroshot", "clip=demo", "out=run"]
SATURATIONS = [
    {"defect_name": "a", "pixel_value": 255, "saturation_threshold": 0.5, "relative_saturation": True},
    {"defect_name": "b", "pixel_value": 236, "saturation_threshold": 50, "relative_saturation": False},
]


def write_picture(path: Path, seed: int, masks: dict[Path, int] | None = None) -> None:
    """A picture, with a spot where `masks` (file -> value) are given; these halve the spot among them."""
    image, mask = picture(seed, spot=bool(masks))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    rows = np.flatnonzero(np.asarray(mask).any(axis=1))
    for part, (file, value) in zip(np.array_split(rows, max(1, len(masks or ()))), (masks or {}).items(), strict=False):
        values = np.zeros(np.asarray(mask).shape[:2], np.uint8)
        values[part] = np.where(np.asarray(mask)[part] > 0, value, 0)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(file)


def write_loco(root: Path) -> None:
    """Two classes of MVTec LOCO AD."""
    for number, name in enumerate(("pushpins", "screw_bag")):
        place, seed = root / name, 100 * number
        for split in ("train", "validation", "test"):
            for image in range(2):
                write_picture(place / split / "good" / f"{image:03d}.png", seed := seed + 1)
        for kind, files in (("logical_anomalies", 2), ("structural_anomalies", 1)):
            for image in range(2):
                truth = place / "ground_truth" / kind / f"{image:03d}"
                masks = {truth / f"{file:03d}.png": SATURATIONS[file]["pixel_value"] for file in range(files)}
                write_picture(place / "test" / kind / f"{image:03d}.png", seed := seed + 1, masks)
        (place / "defects_config.json").write_text(json.dumps(SATURATIONS))


def write_ad2(root: Path, classes: tuple[str, ...] = ("can", "vial"), n_private: int = 2) -> None:
    """Classes of MVTec AD 2 with all their splits."""
    for number, name in enumerate(classes):
        place, seed = root / name, 1000 + 100 * number
        for split, light in (
            ("train/good", "regular"),
            ("validation/good", "regular"),
            ("test_public/good", "shift_1"),
        ):
            for image in range(2):
                write_picture(place / split / f"{image:03d}_{light}.png", seed := seed + 1)
        for image in range(2):
            mask = place / "test_public" / "ground_truth" / "bad" / f"{image:03d}_regular_mask.png"
            write_picture(place / "test_public" / "bad" / f"{image:03d}_regular.png", seed := seed + 1, {mask: 255})
        for split, light in (("test_private", "regular"), ("test_private_mixed", "mixed")):
            for image in range(n_private):
                write_picture(place / split / f"{image:03d}_{light}.png", seed := seed + 1)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADBENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_loco_has_rows_of_either_kind_and_their_mean(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_loco(data / "mvtec_loco")
    assert main([*CLIP, "benchmark=loco", "eval.maps=true"]) == 0, capsys.readouterr().err
    rows = {(row["dataset"], row["class_name"]): row for row in read_results(Path("run"))[1]}
    kinds = ("mvtec_loco_logical", "mvtec_loco_structural")
    assert list(rows) == [
        *((kind, name) for kind in kinds for name in ("pushpins", "screw_bag", "mean")),
        ("mean:industrial", "mean"),
        ("mean", "mean"),
    ]
    for metric in ("image_auroc", "pixel_auspro"):
        single = [rows[kind, name][metric] for kind in kinds for name in ("pushpins", "screw_bag")]
        assert all(0 <= value <= 1 for value in single)
        assert rows["mean", "mean"][metric] == pytest.approx(np.mean(single))
    assert [rows[kind, "pushpins"]["n_images"] for kind in kinds] == [4, 4]
    assert "pixel AUC-sPRO" in Path("run/results.md").read_text()
    assert main(["verify", "run"]) == 0, capsys.readouterr().out


def test_loco_as_a_whole_says_so_in_its_rows(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_loco(data / "mvtec_loco_anomaly_detection")
    assert main([*CLIP, "data=mvtec_loco", "eval.metrics=pixel_auspro@0.3", "data.classes=[pushpins]"]) == 0
    row = read_results(Path("run"))[1][0]
    assert row["n_images"] == 6
    assert 0 <= row["pixel_auspro@0.3"] <= 1
    assert any(note.startswith("logical and structural anomalies together") for note in row["notes"])


def test_support_is_the_same_for_either_kind(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_loco(data / "mvtec_loco")
    assert main(["eval", "method=winclip", "clip=demo", "out=run", "benchmark=loco", "support.k=1"]) == 0
    ids = {
        (row["class_name"], row["support_id"]) for row in read_results(Path("run"))[1] if row["class_name"] != "mean"
    }
    assert len(ids) == 2


def test_mvtec2_is_measured_at_full_size_with_a_threshold_of_validation_images(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ad2(data / "mvtec_ad2")
    assert main([*CLIP, "benchmark=mvtec2", "eval.maps=true"]) == 0, capsys.readouterr().err
    rows = {row["class_name"]: row for row in read_results(Path("run"))[1] if row["dataset"] == "mvtec_ad2"}
    assert list(rows) == ["can", "vial", "mean"]
    for key in ("pixel_aupro@0.05", "segf1@val3sigma", "classf1@val3sigma"):
        assert rows["mean"][key] == pytest.approx((rows["can"][key] + rows["vial"][key]) / 2)
    assert rows["can"]["pixel_val3sigma"] != rows["vial"]["pixel_val3sigma"]
    assert rows["can"]["n_images"] == 4
    assert "pixels counted at the size of the images" in rows["can"]["notes"]
    assert main(["verify", "run"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("split", ["test_private", "test_private_mixed"])
def test_without_labels_there_are_scores_and_no_figures(
    data: Path, capsys: pytest.CaptureFixture[str], split: str
) -> None:
    write_ad2(data / "mvtec_ad2", ("can",))
    words = [f"data.split={split}", "eval.metrics=segf1@val3sigma,image_fpr95", "eval.heat_maps=2"]
    assert main([*CLIP, "data=mvtec_ad2", *words]) == 0, capsys.readouterr().err
    row = read_results(Path("run"))[1][0]
    assert row["n_images"] == 2
    assert row["n_anomalous"] is None
    assert all(np.isnan(row[key]) for key in ("image_auroc", "pixel_aupro", "segf1@val3sigma", "image_fpr95"))
    assert any("MVTec's server alone measures this split" in note for note in row["notes"])
    assert len(Path("run/scores.csv").read_text().splitlines()) == 3
    assert "labels held back" in capsys.readouterr().err
    assert main(["verify", "run"]) == 0, capsys.readouterr().out
    assert main(["data", "show", "mvtec_ad2", "out=sheet.png"]) == 0


def test_a_check_names_what_a_copy_lacks(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ad2(data / "mvtec_ad2", ("can",))
    assert main(["data", "check", "mvtec_ad2"]) == 1
    said = capsys.readouterr().out
    assert "class mvtec_ad2/vial is missing" in said
    assert "mvtec_ad2/can has 2 images in test_private; published: 321" in said
    assert "2 / 46" in said  # validation images have a column of their own
    write_loco(data / "mvtec_loco")
    assert main(["data", "check", "mvtec_loco_logical"]) == 1
    assert "class mvtec_loco_logical/juice_bottle is missing" in capsys.readouterr().out
