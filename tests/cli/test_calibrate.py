"""`adbench calibrate`: a threshold beside the weights, which predict takes."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.cli.main import main
from adbench.metrics import conformal_threshold
from adbench.report.html import write_html
from cli.few_pictures import picture

WINCLIP = ["method=winclip", "clip=demo", "support.path=support", "thresholds=kept"]


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    for name, first, n in (("normal", 100, 30), ("support", 200, 2)):
        Path(name).mkdir()
        for number in range(n):
            picture(first + number, spot=False)[0].save(f"{name}/{number}.png")
    return tmp_path / "copy"


def rows(out: str) -> list[dict[str, str]]:
    with (Path(out) / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_predict_takes_the_threshold_that_lies_beside_the_weights(folder: Path, capsys) -> None:
    assert main(["calibrate", "checkpoint=latest", "input=normal", "fpr=0.1", "class_name=paper"]) == 0
    said = capsys.readouterr().out
    assert "at most 10 % of normal pictures score above it, with confidence 0.95 (n = 30, 0 of them above)" in said
    (place,) = Path("outputs").glob("train/**/thresholds.json")
    kept = json.loads(place.read_text())["classes"]["paper"]

    assert main(["predict", "checkpoint=latest", "input=normal", "class_name=paper", "out=out"]) == 0
    scores = [float(row["score"]) for row in rows("out")]
    assert kept["value"] == pytest.approx(conformal_threshold(scores, 0.1).value, abs=1e-6)
    assert {row["verdict"] for row in rows("out")} == {"normal"}
    assert {float(row["threshold"]) for row in rows("out")} == {kept["value"]}

    assert main(["calibrate", "checkpoint=latest", "input=normal", "fpr=0.1", "confidence=average"]) == 0
    classes = json.loads(place.read_text())["classes"]
    assert classes["paper"] == kept
    assert (classes["object"]["confidence"], classes["object"]["n_above"]) == ("average", 2)


def test_overlays_of_a_calibrated_class_have_one_scale_and_outline_what_no_normal_picture_shows(folder: Path) -> None:
    shutil.copytree("pictures/paper/bad", "in")
    assert main(["calibrate", "checkpoint=latest", "input=normal", "fpr=0.1", "class_name=paper"]) == 0
    (place,) = Path("outputs").glob("train/**/thresholds.json")
    kept = json.loads(place.read_text())["classes"]["paper"]["maps"]
    for name in ("normal", "in"):
        words = [f"input={name}", "class_name=paper", f"out={name}_out", "maps=npy", "overlays=true"]
        assert main(["predict", "checkpoint=latest", *words]) == 0
    normals = [np.load(path) for path in sorted(Path("normal_out/maps").iterdir())]
    assert kept["low"] == pytest.approx(min(map_.min() for map_ in normals), abs=1e-6)
    assert kept["threshold"] == pytest.approx(max(map_.max() for map_ in normals), abs=1e-6)
    assert kept["high"] - kept["threshold"] == pytest.approx(kept["threshold"] - kept["low"])
    bars = []
    for path in sorted(Path("in_out/overlays").iterdir()):
        with Image.open(path) as panel:
            bars.append(np.asarray(panel.convert("L"), np.float32)[60:, 310:])  # right of the picture
    assert len(bars) > 1
    assert all(np.abs(bar - bars[0]).max() < 40 for bar in bars)  # JPEG


def test_weights_that_were_replaced_do_not_take_the_threshold_of_others(folder: Path, capsys) -> None:
    assert main(["calibrate", "checkpoint=latest", "input=normal", "fpr=0.1"]) == 0
    (place,) = Path("outputs").glob("train/**/thresholds.json")
    content = json.loads(place.read_text())
    content["classes"]["object"]["detector"]["weights_sha256"] = "0" * 64
    place.write_text(json.dumps(content))
    assert main(["predict", "checkpoint=latest", "input=normal", "out=out"]) == 2
    assert "the threshold was found with another detector: weights_sha256" in capsys.readouterr().err


def test_training_free_methods_keep_theirs_where_it_is_said(folder: Path, capsys) -> None:
    assert main(["calibrate", *WINCLIP, "input=normal", "fpr=0.1"]) == 0
    assert main(["predict", *WINCLIP, "input=normal", "out=out"]) == 0
    assert {row["verdict"] for row in rows("out")} == {"normal"}
    others = [word if not word.startswith("support") else "support.path=normal/1*.png" for word in WINCLIP]
    assert main(["predict", *others, "input=normal", "out=other"]) == 2
    assert "support pictures then" in capsys.readouterr().err


def test_copies_and_broken_files_are_told(folder: Path, capsys) -> None:
    shutil.copy("normal/0.png", "normal/again.png")
    Path("normal/broken.png").write_bytes(b"nothing")
    assert main(["calibrate", "checkpoint=latest", "input=normal", "fpr=0.1"]) == 1
    said = capsys.readouterr()
    assert "normal/broken.png" in said.err
    assert "1 copies of other pictures" in said.err
    assert "n = 30" in said.out


def test_a_threshold_from_labelled_scores(folder: Path, capsys) -> None:
    evaluation = ["eval", "checkpoint=latest", "method=adaclip", "data=folder", "data.root=others", "out=evaluated"]
    assert main(evaluation) == 0
    assert main(["calibrate", "checkpoint=latest", "from=evaluated", "at=recall=1.0"]) == 0
    with Path("evaluated/scores.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    (place,) = Path("outputs").glob("train/**/thresholds.json")
    kept = json.loads(place.read_text())["classes"][scores[0]["class_name"]]
    lowest = min(float(row["score"]) for row in scores if row["label"] == "1")
    lower = [float(row["score"]) for row in scores if float(row["score"]) < lowest]
    assert kept["value"] < lowest
    assert all(score < kept["value"] for score in lower)
    assert (kept["rule"], kept["recall"], kept["n"], kept["n_anomalous"]) == ("recall", 1.0, 6, 3)
    assert main(["calibrate", "checkpoint=latest", "from=evaluated/scores.csv", "at=f1max"]) == 0
    thresholds = json.loads(place.read_text())["classes"]
    write_html(folder / "evaluated")
    (name,) = thresholds
    with (folder / "evaluated" / "scores.csv").open(newline="") as file:
        scored = [row for row in csv.DictReader(file)]
    alarms, hits = (
        sum(row["label"] == label and float(row["score"]) > thresholds[name]["value"] for row in scored)
        for label in ("0", "1")
    )
    page = re.sub(r"\s*<[^>]*>\s*", "|", (folder / "evaluated" / "report.html").read_text())
    assert f"|by the labels of 6 images: largest F1||{alarms} of 3||{hits} of 3|" in re.sub(r"\|{2,}", "||", page)
    assert main(["calibrate", "method=clip_zeroshot", "clip=demo", "thresholds=x", "from=evaluated"]) == 2
    assert "of another method" in capsys.readouterr().err
    assert main(["calibrate", "checkpoint=latest", "from=evaluated", "at=best"]) == 2
    assert "at=recall=0.95" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["checkpoint=latest", "input=normal"], "needs the rate of false alarms"),
        (["checkpoint=latest", "input=normal", "fpr=0.01"], "n = 30 normal images supports no rate below 0.0951"),
        (["checkpoint=latest", "input=normal", "fpr=0.01", "confidence=average"], "at least 99 normal images"),
        (["checkpoint=latest", "input=normal", "fpr=2"], "fpr is 2"),
        (["checkpoint=latest", "input=normal", "fpr=0.1", "confidence=mean"], "confidence is 'mean'. Give a number"),
        (["method=winclip", "clip=demo", "input=normal", "fpr=0.1"], "Add thresholds=FOLDER"),
        (["checkpoint=latest", "input=pictures/*/good", "fpr=0.9"], "there are no pictures"),
        (["checkpoint=latest", "input=pictures/**/*.png", "fpr=0.5"], "pictures that the weights were trained on"),
        (
            [*WINCLIP[:2], "thresholds=x", "support.path=normal/1*.png", "input=normal", "fpr=0.1"],
            "are support pictures",
        ),
    ],
)
def test_mistakes_are_one_line(folder: Path, capsys, words: list[str], said: str) -> None:
    assert main(["calibrate", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(Path().glob("**/thresholds.json"))
