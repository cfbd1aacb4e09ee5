"""Commands for what `eval` has fitted, and what an evaluation takes over from the recipe of its weights' backbone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from adbench.cli.main import main

EVAL = ["eval", "method=promptad", "data=folder", "data.root=others"]
FIT = [*EVAL, "clip=demo", "support=folder", "support.path=pictures/paper/good", "support.k=1", "method.epochs=1"]


@pytest.fixture
def fitted(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The outputs folder of an evaluation that has fitted PromptAD."""
    monkeypatch.chdir(trained)
    assert main([*FIT, f"outputs={tmp_path}"]) == 0
    return tmp_path


def rows(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())["rows"]


def test_latest_finds_what_was_fitted_and_scores_it_again(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (first,) = fitted.glob("eval/promptad/folder/*")
    again = [*EVAL, "checkpoint=latest", f"outputs={fitted}"]
    assert main([*again, f"out={fitted / 'again'}"]) == 0
    assert main([*again, f"out={fitted / 'prompts'}", "method.guidance=prompt"]) == 0
    same, other = ([row["image_auroc"] for row in rows(fitted / name)] for name in ("again", "prompts"))
    assert same == [row["image_auroc"] for row in rows(first)]
    assert {row["shots"] for row in rows(fitted / "again")} == {1}
    assert len(other) == len(same)
    assert not list((fitted / "again").glob("weights_*"))
    capsys.readouterr()
    assert main([*again, "method.n_ctx=3"]) == 2
    assert "only guidance, map_blur_sigma" in capsys.readouterr().err


def test_there_is_nothing_fitted_yet(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*EVAL, "checkpoint=latest", f"outputs={tmp_path}"]) == 2
    line = capsys.readouterr().err
    assert "no finished eval run of method promptad" in line
    assert "python -m adbench eval method=promptad data=... support.k=4" in line


def test_the_recipe_of_the_weights_backbone_counts(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    (run,) = (trained / "outputs" / "train" / "adaclip" / "folder").iterdir()
    for words, size in (([], 16), (["eval.batch_size=2"], 2)):
        assert main(["eval", f"checkpoint={run}", "data=folder", "data.root=others", *words, "--show"]) == 0
        shown = yaml.safe_load(capsys.readouterr().out)
        assert shown["eval"]["batch_size"] == size
        assert shown["clip"]["name"] == "demo"
        assert shown["method"]["k_clusters"] == 3
