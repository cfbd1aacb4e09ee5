"""`eval.metrics` and `eval.aupro_limit` from the command line to tables, report and verification."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.cli.main import main
from adbench.report.results import read_results
from cli.few_pictures import write_pictures

WORDS = ["eval", "method=clip_zeroshot", "clip=demo", "data=folder", "data.root=pictures", "out=run"]
CHOSEN = "eval.metrics=segf1@0.5,seg_iou@0.5,segf1@val3sigma,image_fpr95,image_recall_at_fpr@0.05,image_brier"


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "pictures")
    return tmp_path


def test_chosen_metrics_are_in_every_output_and_verified(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "eval.aupro_limit=0.3,0.05", CHOSEN, "eval.maps=true"]) == 0
    row = read_results(Path("run"))[1][0]
    assert row["seg_iou@0.5"] == pytest.approx(row["segf1@0.5"] / (2 - row["segf1@0.5"]))
    assert "no validation images, so no threshold of them" in row["notes"]
    for heading in ("pixel AUPRO@0.05", "SegF1@0.5", "SegF1@val3sigma", "image FPR95", "image Brier score"):
        assert f"| {heading} |" in Path("run/results.md").read_text().splitlines()[0] + "|"
        assert heading in Path("run/report.html").read_text()
    assert "segf1@0.5" in Path("run/results.csv").read_text().splitlines()[0].split(",")

    capsys.readouterr()
    assert main(["verify", "run"]) == 0
    for key in ("segf1@0.5", "pixel_aupro@0.05", "image_recall_at_fpr@0.05", "image_brier"):
        content = json.loads(Path("run/results.json").read_text())
        told = content["rows"][0][key]
        content["rows"][0][key] = told / 2 + 0.01
        Path("run/results.json").write_text(json.dumps(content))
        assert main(["verify", "run"]) == 1
        assert f" {key}: " in capsys.readouterr().out
        content["rows"][0][key] = told
        Path("run/results.json").write_text(json.dumps(content))


def test_a_limit_of_ones_own_takes_the_place_of_the_usual_one(pictures: Path) -> None:
    assert main([*WORDS, "eval.aupro_limit=0.05"]) == 0
    row = read_results(Path("run"))[1][0]
    assert "pixel_aupro@0.05" in row
    assert "pixel_aupro" not in row
    assert "pixel AUPRO |" not in Path("run/results.md").read_text()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("eval.metrics=segf", "unknown metric 'segf' (eval.metrics). Did you mean"),
        ("eval.metrics=[segf1]", "the metric segf1 names no score threshold (eval.metrics). Write segf1@X"),
        ("eval.aupro_limit=0.3,2", "eval.aupro_limit"),
        ("eval.metrics=component_f1", "It comes with data of road scenes"),
    ],
)
def test_a_wrong_choice_is_one_line(
    word: str, message: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, word]) == 2
    assert message in capsys.readouterr().err
    assert not Path("run").exists()
