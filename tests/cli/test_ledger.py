"""`adbench ledger`: runs are checked, kept without paths, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.cli.main import main
from adbench.cli.other_settings import unusual_settings
from adbench.cli.overrides import Overrides
from adbench.cli.plan import preview
from adbench.report.results import read_results
from cli.tiny_sets import write_sets

WORDS = ["method=winclip", "clip=demo", "data=mvtec", "device=cpu", "out=run"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an evaluation in run/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADBENCH_DATA", raising=False)
    write_sets(tmp_path / "data")
    assert main(["eval", *WORDS]) == 0
    return tmp_path


def test_a_run_is_checked_kept_and_shown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "add", "run", "ledger=results"]) == 0
    (entry,) = Path("results/entries").iterdir()
    assert f"added        {entry}" in capsys.readouterr().out
    content = json.loads(entry.read_text())
    assert str(here) not in entry.read_text()
    assert content["rows"] == json.loads(Path("run/results.json").read_text())["rows"]
    html = Path("results/index.html").read_text()
    assert "other backbone: demo instead of ViT-B-16-plus-240" in html
    assert "2 of 15 classes" in html
    assert ">reproduced<" not in html

    Path("results/index.html").unlink()
    assert main(["ledger", "render", "ledger=results"]) == 0
    assert Path("results/index.html").read_text() == html

    results = json.loads(Path("run/results.json").read_text())
    results["rows"][0]["image_auroc"] = 0.123
    Path("run/results.json").write_text(json.dumps(results))
    assert main(["ledger", "add", "run", "ledger=results"]) == 2
    assert "the results do not hold: results.json" in capsys.readouterr().err
    assert len(list(Path("results/entries").iterdir())) == 1


def test_settings_other_than_the_methods_own_are_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = read_results(Path("run"))
    assert unusual_settings(Path("run"), run) == []  # the backbone is told by the rows
    train = ["method=anomalyclip", "clip=demo", "data=mvtec", "device=cpu", "trainer.epochs=1", "out=trained"]
    assert main(["train", *train]) == 0
    words = ["method=anomalyclip", "data=btad", "device=cpu", "checkpoint=trained", "eval.amp=bf16", "out=evaluated"]
    assert main(["eval", *words]) == 0
    run, _ = read_results(Path("evaluated"))
    told = unusual_settings(Path("evaluated"), run)
    assert "other settings: eval.amp=bf16 instead of off" in told
    assert "other settings: trainer.epochs=1 instead of 15" in told
    Path("trained/config.yaml").unlink()
    assert "it is unknown how its weights were trained" in unusual_settings(Path("evaluated"), run)


def test_a_backbone_held_in_less_than_float32_is_told(tmp_path: Path) -> None:
    words = ["method=clip_zeroshot", "data=mvtec", "clip.dtype=bfloat16"]
    (tmp_path / "config.yaml").write_text(preview(Overrides("eval", words)).to_yaml())
    told = unusual_settings(tmp_path, {"checkpoint": "untrained"})
    assert told == ["other settings: clip.dtype=bfloat16 instead of float32"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "ledger needs to know what to do"),
        (["ad"], "unknown action 'ad'"),
        (["add"], "ledger add needs a run"),
        (["add", "missing"], "this is no folder of an evaluation"),
        (["render"], "this is no ledger: it has no entries"),
        (["render", "ledger=file"], "this is a file, not a folder"),
        (["add", "folder"], "there are no readable results"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("folder").mkdir()
    assert main(["ledger", *words]) == 2
    assert said in capsys.readouterr().err
