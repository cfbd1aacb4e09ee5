"""The archive for the server of MVTec AD 2: names, types, sizes, thresholds, and what is refused."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch.nn import functional

import adbench
from adbench.cli.main import main
from adbench.data import catalogue
from adbench.engine.kept_maps import maps_files, read_maps
from adbench.engine.run_folder import RunFolder
from adbench.engine.submission import check_folder, private_samples
from adbench.errors import UserError
from adbench.plugins import DATASETS
from adbench.report.results import read_results
from cli.test_further_sets import write_ad2

WORDS = ["eval", "method=clip_zeroshot", "clip=demo", "data=mvtec_ad2"]
SPLITS = {"test_private": "regular", "test_private_mixed": "mixed"}
CLASSES = ("can", "vial")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two objects with two private images each, and a catalogue that expects no more."""
    write_ad2(tmp_path / "data" / "mvtec_ad2", CLASSES)
    spec = catalogue.get("mvtec_ad2")
    few = replace(spec, classes=CLASSES, held_back={split: dict.fromkeys(CLASSES, 2) for split in SPLITS})
    monkeypatch.setitem(DATASETS.entries, "mvtec_ad2", few)
    monkeypatch.setenv("ADBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_words(*words: str) -> list[str]:
    """WORDS, but for those of a key that `words` have."""
    keys = {word.split("=")[0] for word in words}
    return [*(word for word in WORDS if word.split("=")[0] not in keys), *words]


def test_the_archive_is_what_the_server_checks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = ["eval.metrics=segf1@val3sigma", "eval.pixel_size=image"]
    assert main([*WORDS, "out=run", "submission=mine", *metrics]) == 0, capsys.readouterr().err
    assert "mine.tar.gz" in capsys.readouterr().out
    names = {f"{name}/{split}/{n:03d}_{light}" for name in CLASSES for split, light in SPLITS.items() for n in range(2)}
    with tarfile.open("mine.tar.gz") as packed:
        files = {entry.name for entry in packed.getmembers() if entry.isfile()}
    assert files == {f"mine/anomaly_images/{name}.tiff" for name in names} | {
        f"mine/anomaly_images_thresholded/{name}.png" for name in names
    }
    rows = {row["class_name"]: row for row in read_results(Path("run"))[1]}
    about = json.loads(Path("run/submission.json").read_text())
    assert about["n_images"] == 8
    assert main([*WORDS, "out=private", "data.split=test_private_mixed", "eval.maps=true"]) == 0
    for name in CLASSES:
        scale = about["scales"][name]
        assert scale["threshold"] == rows[name]["pixel_val3sigma"]  # of SegF1 on the public test set
        file = maps_files(RunFolder(Path("private")), "mvtec_ad2", CLASSES)[name]
        for kept in read_maps(file):
            stem = Path(kept.path).stem
            size = np.asarray(Image.open(here / "data/mvtec_ad2" / kept.path)).shape[:2]
            whole = functional.interpolate(torch.from_numpy(kept.map)[None, None], size=size, mode="bilinear")[0, 0]
            written = tifffile.imread(f"mine/anomaly_images/{name}/test_private_mixed/{stem}.tiff")
            binary = np.asarray(Image.open(f"mine/anomaly_images_thresholded/{name}/test_private_mixed/{stem}.png"))
            assert written.dtype == np.float16
            assert written.shape == binary.shape == size
            expected = (whole.numpy().astype(np.float64) - scale["low"]) / (scale["high"] - scale["low"]) * 2**15
            assert written.astype(np.float64) == pytest.approx(expected, rel=1e-3, abs=1e-6)
            assert np.array_equal(binary, np.where(whole.numpy().astype(np.float64) > scale["threshold"], 255, 0))


def test_what_the_server_would_refuse_is_refused_before_anything_is_scored(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str) -> str:
        assert main([*with_words(*words), "out=run", "submission=mine"]) == 2
        assert not Path("run").exists()
        assert not Path("mine").exists()
        return capsys.readouterr().err

    assert "test_private of vial holds 0 images and the server wants 2; 000_regular is missing" in refused(
        "data.classes=[can]"
    )
    image = here / "data/mvtec_ad2/can/test_private_mixed/001_mixed.png"
    image.rename(image.with_name("002_mixed.png"))
    assert "001_mixed is missing" in refused()
    image.with_name("002_mixed.png").rename(image)
    assert "scores images by one another" in refused("method=musc")
    assert "an archive holds one result" in refused("method=winclip", "support.k=1,2")
    assert "none of the data sets is measured by a server" in refused("data=piped_mini")
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    assert main([*WORDS, "submission=mine"]) == 2
    assert "there is something already" in capsys.readouterr().err
    assert Path("mine/notes.txt").read_text() == "mine"


def test_a_few_shot_method_submits_with_its_support(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = with_words("method=winclip", "support.k=1", "out=run", "submission=mine")
    assert main(words) == 0, capsys.readouterr().err
    assert Path("mine.tar.gz").is_file()


def test_a_folder_that_was_changed_is_seen(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "out=run", "submission=mine"]) == 0, capsys.readouterr().err
    opened = adbench.open_dataset("mvtec_ad2", root=here / "data/mvtec_ad2")
    spec, samples = opened.facts, opened.samples
    private, folder = private_samples(samples, spec.held_back, spec.submitted), Path("mine")
    check_folder(folder, private)
    tiff = folder / "anomaly_images/can/test_private/000_regular.tiff"
    content = tiff.read_bytes()
    for change, message in (
        (lambda: tifffile.imwrite(tiff, np.zeros((3, 4), np.float16)), "another size than its image"),
        (lambda: tiff.write_bytes(content[:20]), "cannot be read"),
        (lambda: tiff.write_bytes(content[: len(content) // 2]), "cannot be read"),
        (lambda: tifffile.imwrite(tiff, np.zeros((3, 4), np.float32)), "half precision"),
        (lambda: tiff.unlink(), "is missing"),
        (lambda: tiff.with_name("more.txt").write_text(""), "does not belong to the submission"),
    ):
        tiff.write_bytes(content)
        change()
        with pytest.raises(UserError, match=message):
            check_folder(folder, private)
