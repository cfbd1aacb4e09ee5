"""`adbench predict`: rows as they come, broken files skipped, and on again after an interruption."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import adbench
from adbench.cli.main import main
from adbench.report.map_files import read_png_map
from adbench.report.predictions import PredictionTable
from cli.few_pictures import picture, write_pictures

PLAIN = ["predict", "method=clip_zeroshot", "clip=demo"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def same_detector(out: Path) -> adbench.Detector:
    """Made in Python with the hyperparameters that the folder records: recipes are the command line's."""
    facts = json.loads((out / "settings.json").read_text())["detector"]
    return adbench.Detector(
        adbench.build(facts["method"], adbench.load_clip("demo"), **facts["hyperparameters"]), device="cpu"
    )


def save(path: Path, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    image, _ = picture(seed, spot=bool(seed % 2))
    image.save(path)
    return np.asarray(image)


def test_scores_maps_and_verdicts_are_those_of_the_detector(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [save(folder / "in" / f"{number}.png", number) for number in range(3)]
    words = ["input=in", "class_name=metal_nut", "threshold=0.5", "out=out", "maps=npy", "overlays=true"]
    assert main([*PLAIN, *words]) == 0

    said = capsys.readouterr()
    assert "prompts say  metal nut" in said.err
    assert said.out == "out/predictions.csv\n"
    detector = same_detector(Path("out"))
    expected = detector.predict(given, class_name="metal_nut", threshold=0.5)
    for number, (row, one) in enumerate(zip(rows(Path("out")), expected, strict=True)):
        assert (row["path"], row["class_name"], row["threshold"]) == (f"in/{number}.png", "metal_nut", "0.5")
        assert float(row["score"]) == pytest.approx(one.score, abs=1e-5)
        assert row["verdict"] == one.verdict
        np.testing.assert_allclose(np.load(f"out/maps/{number}.png.npy"), one.map, atol=1e-5)
        with Image.open(f"out/overlays/{number}.jpg") as overlay:
            assert overlay.width > overlay.height > 300  # 64 x 64, enlarged, with a caption and a colour bar


def test_png_maps_carry_their_scale(folder: Path) -> None:
    image = save(folder / "wide.png")
    assert main([*PLAIN, "input=wide.png", "out=out", "maps=png"]) == 0
    detector = same_detector(Path("out"))
    map_ = detector.predict(image)[0].map
    assert map_ is not None
    with Image.open("out/maps/wide.png.png") as stored:
        assert stored.mode.startswith("I")
        assert set(json.loads(stored.text["map"])) == {"low", "high"}
    np.testing.assert_allclose(read_png_map(Path("out/maps/wide.png.png")), map_, atol=np.ptp(map_) / 65534 + 1e-5)


def test_names_of_all_kinds_are_told_apart(folder: Path) -> None:
    names = [
        "a,b.png",
        "new\nline.png",
        "ret\rurn.png",
        "=1+1.png",
        'quo"te.png',
        "ä 部品.png",
        "deep/er/a.png",
        "[x].png",
    ]
    for number, name in enumerate(names):
        save(folder / "in" / name, number)
    (folder / "in" / "notes.txt").write_text("no picture")
    assert main([*PLAIN, "input=in", "out=out", "maps=npy"]) == 0
    paths = [row["path"] for row in rows(Path("out"))]
    assert sorted(path.removeprefix("'") for path in paths) == sorted(f"in/{name}" for name in names)
    assert all((folder / "out" / "maps" / f"{name}.npy").exists() for name in names)
    whole = (folder / "out" / "predictions.csv").read_bytes()
    assert main([*PLAIN, "input=in", "out=out", "maps=npy"]) == 0
    assert (folder / "out" / "predictions.csv").read_bytes() == whole


def test_pictures_of_all_kinds(folder: Path) -> None:
    image, _ = picture(1, spot=True)
    (folder / "in").mkdir()
    image.convert("P").save("in/palette.png")
    image.convert("L").save("in/grey.bmp")
    image.convert("RGBA").save("in/alpha.webp", lossless=True)
    image.convert("1").save("in/bits.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save("in/deep.tif")
    turned = image.crop((0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save("in/phone.jpg", exif=exif)
    assert main([*PLAIN, "input=in", "out=out", "maps=npy", "overlays=true"]) == 0
    assert len(rows(Path("out"))) == 6
    assert np.load("out/maps/phone.jpg.npy").shape == (64, 32)  # upright, as it is looked at


def test_pictures_that_are_not_taken_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "0.heic").write_bytes(b"x")
    assert main([*PLAIN, "input=in", "out=out"]) == 2
    assert "there are no pictures: 1 picture is of a format that is not read (.heic" in capsys.readouterr().err
    save(folder / "in" / "1.avif")
    (folder / "in" / "2.dng").write_bytes(b"x")
    assert main([*PLAIN, "input=in", "out=out"]) == 0
    said = capsys.readouterr().err
    assert "left out     2 pictures are of formats that are not read (.dng, .heic; save them" in said
    assert "1 pictures scored" in said


def test_broken_files_are_named_and_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        save(folder / "in" / f"{number}.png", number)
    (folder / "in" / "1.png").write_bytes((folder / "in" / "0.png").read_bytes()[:200])
    (folder / "in" / "2.png").write_bytes(b"")
    assert main([*PLAIN, "input=in", "out=out", "batch_size=2"]) == 1
    said = capsys.readouterr().err
    assert "in/1.png" in said
    assert "it is empty" in said
    assert "2 pictures scored; 2 could not be read" in said
    assert [row["path"] for row in rows(Path("out"))] == ["in/0.png", "in/3.png"]
    save(folder / "in" / "1.png")
    save(folder / "in" / "2.png")
    assert main([*PLAIN, "input=in", "out=out"]) == 0
    assert len(rows(Path("out"))) == 4


@pytest.mark.parametrize("cut", [1, 5, 25])
def test_it_goes_on_behind_a_row_that_was_half_written(folder: Path, cut: int) -> None:
    for number in range(4):
        save(folder / "in" / f"{number},\n.png", number)
    assert main([*PLAIN, "input=in", "out=out"]) == 0
    table = folder / "out" / "predictions.csv"
    whole = table.read_bytes()
    table.write_bytes(whole[:-cut])
    assert main([*PLAIN, "input=in", "out=out", "batch_size=1"]) == 0
    again = rows(Path("out"))
    assert len(again) == 4
    assert table.read_bytes().splitlines()[:-1] == whole.splitlines()[:-1]


def test_it_goes_on_after_a_signal(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    from adbench.interrupts import Interrupted
    from adbench.report.predictions import PredictionTable

    for number in range(5):
        save(folder / "in" / f"{number}.png", number)
    append, calls = PredictionTable.append, []

    def stopped(self, *row) -> None:
        calls.append(row)
        if len(calls) == 3:
            raise Interrupted(15)
        append(self, *row)

    monkeypatch.setattr(PredictionTable, "append", stopped)
    assert main([*PLAIN, "input=in", "out=out"]) == 143
    assert "Go on with: python -m adbench predict method=clip_zeroshot clip=demo input=in out=out" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr(PredictionTable, "append", append)
    assert main([*PLAIN, "input=in", "out=out"]) == 0
    assert "2 of 5 pictures were scored before" in capsys.readouterr().err
    assert [row["path"] for row in rows(Path("out"))] == [f"in/{number}.png" for number in range(5)]


def test_what_a_killed_process_has_half_written_is_removed(folder: Path) -> None:
    save(folder / "in" / "deep" / "0.png")
    again = [*PLAIN, "input=in", "out=out", "maps=npy", "overlays=true"]
    assert main(again) == 0
    half_written = [Path("out", part, "deep", ".adbench.x1.tmp") for part in ("maps", "overlays")]
    for path in half_written:
        path.touch()
    assert main(again) == 0
    assert not any(path.exists() for path in half_written)
    assert Path("out/overlays/deep/0.jpg").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["threshold=0.7"], "another threshold"),
        (["maps=npy"], "another maps"),
        (["method.gaussian_sigma=2"], "another detector"),
        (["input=in/0.png"], "another input"),
        (["class_name=gear"], "a run with data 'object' instead of 'gear'"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(folder: Path, capsys, changed: list[str], said: str) -> None:
    save(folder / "in" / "0.png")
    words = {word.partition("=")[0]: word for word in ["input=in", "out=out", *changed]}
    assert main([*PLAIN, "input=in", "out=out"]) == 0
    assert main([*PLAIN, *words.values()]) == 2
    assert said in capsys.readouterr().err
    assert len(rows(Path("out"))) == 1


def test_lines_of_json_for_pipes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(folder / "in" / "a\n.png")
    (folder / "in" / "b.png").write_bytes(b"nothing")
    assert main([*PLAIN, "input=in/*.png", "format=jsonl"]) == 1
    good, broken = map(json.loads, capsys.readouterr().out.splitlines())
    assert good["path"] == "in/a\n.png"
    assert isinstance(good["score"], float)
    assert good["verdict"] is good["threshold"] is None
    assert "it is no image" in broken["error"]
    assert not (folder / "outputs").exists()


def test_patterns_and_run_folders_below_the_input(folder: Path) -> None:
    for name in ("in/a/1.png", "in/a/1.jpg", "in/b/2.png"):
        save(folder / name)
    assert main([*PLAIN, "input=in/**/*.png", "out=in/run", "overlays=true", "maps=png"]) == 0
    assert [row["path"] for row in rows(Path("in/run"))] == ["in/a/1.png", "in/b/2.png"]
    assert (folder / "in/run/maps/a/1.png.png").exists()
    assert main([*PLAIN, "input=in", "out=second"]) == 0
    assert len(rows(Path("second"))) == 3


def test_few_shot_with_support_pictures(folder: Path) -> None:
    write_pictures(folder / "own")
    words = ["predict", "method=winclip", "clip=demo", "input=own/bad", "support.path=own/good"]
    assert main([*words, "out=out"]) == 0
    detector = same_detector(Path("out"))
    expected = detector.predict(sorted(Path("own/bad").glob("*")), support=sorted(Path("own/good").glob("*")))
    assert [float(row["score"]) for row in rows(Path("out"))] == pytest.approx(
        [one.score for one in expected], abs=1e-5
    )


def test_a_training_run_with_its_threshold(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    assert main(["predict", "checkpoint=latest", "input=others/cloth/bad", "out=out", "class_name=cloth"]) == 0
    assert {row["verdict"] for row in rows(Path("out"))} == {""}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=clip_zeroshot", "clip=demo"], "predict needs pictures"),
        (["input=in"], "predict needs a method or the weights of one"),
        (["input=in", "checkpoint=latest", "method=adaclip"], "there is no finished train run of method adaclip"),
        (["method=clip_zeroshot", "clip=demo", "input=missing"], "there is no such file or folder"),
        (["method=clip_zeroshot", "clip=demo", "input=*.bmp"], "there are no pictures"),
        (["method=clip_zeroshot", "clip=demo", "input=in", "maps=tiff"], "unknown value 'tiff'"),
        (["method=clip_zeroshot", "clip=demo", "input=in", "threshold=high"], "threshold is 'high'. Give a number"),
        (["method=clip_zeroshot", "clip=demo", "input=in", "threshold=nan"], "threshold is nan"),
        (["method=clip_zeroshot", "clip=demo", "input=in", "batch_size=0"], "batch_size is 0"),
        (["method=clip_zeroshot", "clip=demo", "input=in", "inputs=x"], "Did you mean input?"),
        (["method=clip_zeroshot", "clip=demo", "input=in", "format=jsonl", "maps=png"], "Add out=DIR"),
        (["method=clip_zeroshot", "clip=demo", "input=in", "support.path=in"], "takes no support pictures"),
        (["method=clip_zeroshot", "clip=demo", "input=in", "method.sigma=1"], "method.gaussian_sigma"),
        (["method=adaclip", "clip=demo", "input=in", "checkpoint=untrained"], "before it is trained"),
        (["method=promptad", "clip=demo", "input=in", "checkpoint=untrained"], "Add support.path=FOLDER"),
    ],
)
def test_mistakes_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    save(folder / "in" / "0.png")
    assert main(["predict", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len([line for line in error.splitlines() if line.startswith("adbench: error")]) == 1
    assert not (folder / "outputs").exists()


@pytest.mark.slow
def test_two_thousand_pictures_in_constant_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(folder / "in" / "0000.png")
    for number in range(1, 2000):
        (folder / "in" / f"{number:04d}.png").write_bytes((folder / "in" / "0000.png").read_bytes())
    held: list[int] = []
    append = PredictionTable.append

    def watched(self: PredictionTable, *cells: Any) -> None:
        held.append(resident())
        append(self, *cells)

    monkeypatch.setattr(PredictionTable, "append", watched)
    # A method without a network: what is held is the loop's.
    assert main(["predict", "method=median_colour", "clip=demo", "batch_size=32", "input=in", "out=out"]) == 0
    assert len(held) == len(rows(Path("out"))) == 2000
    # Maps alone would take 2000 x 64 x 64 x 4 bytes, 31 MiB, images and features as much again.
    assert first.shape == (64, 64, 3)
    assert max(held[500:]) - held[500] < 16 * 2**20


def resident() -> int:
    """Bytes of this process in memory."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def test_a_method_that_scores_pictures_together_takes_the_input_as_the_set(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [save(folder / "in" / f"{number}.png", number) for number in range(6)]
    (folder / "in" / "broken.png").write_bytes(b"no picture")
    words = ["predict", "method=musc", "clip=demo", "input=in", "out=out", "batch_size=4"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "the 7 pictures are scored together" in said
    assert "6 pictures scored; 1 could not be read" in said
    together = same_detector(Path("out")).predict(given, batch_size=4)
    assert [one.scored_with for one in together] == [6] * 6
    whole = rows(Path("out"))
    assert [float(row["score"]) for row in whole] == pytest.approx([one.score for one in together], rel=1e-5)

    table = folder / "out" / "predictions.csv"
    table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:3]))  # two have their rows
    assert main(words) == 1
    assert rows(Path("out")) == whole  # of the same set, not of the four that were left

    save(folder / "in" / "7.png", 7)
    assert main(words) == 2
    assert "another set of pictures" in capsys.readouterr().err


@pytest.mark.slow
def test_it_goes_on_after_a_kill(folder: Path) -> None:
    for number in range(120):
        save(folder / "in" / f"{number:03d}.png", number)
    words = ["predict", "method=median_colour", "clip=demo", "input=in", "batch_size=1", "maps=npy"]
    command = [sys.executable, "-m", "adbench", *words, "out=out"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    table = folder / "out" / "predictions.csv"
    deadline = time.monotonic() + 300
    while not (table.exists() and table.read_bytes().count(b"\n") > 10):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    n_before = table.read_bytes().count(b"\n") - 1
    assert 10 <= n_before < 120
    assert main([*words, "out=out"]) == 0
    assert main([*words, "out=whole"]) == 0
    assert table.read_bytes() == (folder / "whole" / "predictions.csv").read_bytes()
    maps = {path.name: path.read_bytes() for path in (folder / "out" / "maps").iterdir()}
    assert maps == {path.name: path.read_bytes() for path in (folder / "whole" / "maps").iterdir()}
