"""`adbench compare` on finished runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adbench.cli.main import main
from cli.few_pictures import write_pictures


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs a and b of two methods on the same pictures. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    write_pictures(folder / "pictures" / "cloth", n=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for out, method in (("outputs/a", "clip_zeroshot"), ("outputs/b", "median_colour")):
            words = [f"method={method}", "clip=demo", "data=folder", "data.root=pictures", f"out={out}"]
            assert main(["eval", *words]) == 0
    return folder


def test_two_runs_are_compared(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    words = ["outputs/a", "outputs/b/scores.csv", "metric=image_ap", "seed=3", f"out={tmp_path / 'new'}"]
    assert main(["compare", *words]) == 0
    out = capsys.readouterr().out
    assert out.startswith("A  clip_zeroshot (outputs/a)\nB  median_colour (outputs/b/scores.csv)\n")
    assert re.search(
        r"folder +cloth +12 +\d+\.\d +\d+\.\d +[+-]\d+\.\d +\[[+-]\d+\.\d, [+-]\d+\.\d\] +[01]\.\d{3}", out
    )
    assert "p values are not corrected" in out
    content = json.loads((tmp_path / "new" / "comparison.json").read_text())
    assert (content["metric"], content["seed"], content["resamples"]) == ("image_ap", 3, 2000)
    assert {file.name for file in (tmp_path / "new").iterdir()} == {
        f"comparison.{end}" for end in ("json", "csv", "md")
    }


def test_the_latest_run_and_a_results_file(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    assert main(["compare", "latest", "outputs/b/results.json"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"folder +mean .* \+0\.0 +\[\+0\.0, \+0\.0\] +1\.000", out)


def test_images_of_one_run_alone(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    lines = Path("outputs/a/scores.csv").read_text().splitlines(keepends=True)
    (tmp_path / "scores.csv").write_text("".join(lines[:-1]))
    assert main(["compare", "outputs/a", str(tmp_path)]) == 2
    assert "not over the same images" in capsys.readouterr().err
    assert main(["compare", "outputs/a", str(tmp_path), "missing=skip"]) == 0
    assert "of the first run alone: left out" in capsys.readouterr().out


def test_runs_on_other_files_are_told_apart(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    content = json.loads(Path("outputs/a/results.json").read_text())
    content["run"]["data"][0]["fingerprint"] = "0" * 64
    content["rows"][-1]["notes"] = ["not zero-shot"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    (tmp_path / "scores.csv").write_bytes(Path("outputs/a/scores.csv").read_bytes())
    assert main(["compare", "outputs/b", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "folder: the two runs saw other files or labels" in out
    assert "B on folder: not zero-shot" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "compare takes two runs, and 0 are named"),
        (["outputs/a"], "compare takes two runs, and 1 are named"),
        (["outputs/a", "nowhere"], "no scores of single images (nowhere)"),
        (["outputs/a", "outputs/b", "metric=image_auc"], "Did you mean 'image_auroc'"),
        (["outputs/a", "outputs/b", "metrics=image_ap"], "Did you mean metric?"),
        (["outputs/a", "outputs/b", "missing=yes"], "unknown value 'yes'"),
        (["outputs/a", "outputs/b", "seed=-1"], "seed"),
        (["outputs/a", "outputs/b", "out=outputs/a/scores.csv"], "this is a file, not a folder"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    assert main(["compare", *words]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
