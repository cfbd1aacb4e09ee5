"""`adbench report` on finished runs."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from adbench.cli.main import main
from cli.tiny_sets import write_sets

METHODS = ("winclip", "median_colour")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two evaluations in outputs/. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    write_sets(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("ADBENCH_DATA", raising=False)
        for method in METHODS:
            assert main(["eval", f"method={method}", "clip=demo", "data=mvtec", f"out=outputs/{method}"]) == 0
    return folder


def test_ours_stand_beside_the_published_ones(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    assert main(["report", "outputs/winclip/results.json"]) == 0
    out = capsys.readouterr().out
    assert main(["report", "outputs/winclip"]) == 0
    assert capsys.readouterr().out == out
    assert re.search(r"mvtec +mean +0 +winclip +\d+\.\d", out)
    assert re.search(r"published \[\d\] +91\.8 +85\.1", out)
    assert re.search(r"all sources +90\.4–91\.8", out)
    assert "difference" not in out  # of another backbone
    assert "] WinCLIP (CVPR 2023), own table: the paper's abstract" in out
    assert "winclip: the backbone is demo" in out


def test_several_runs_and_files(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    words = ["outputs/winclip", "outputs/median_colour/results.json", f"out={tmp_path / 'new'}"]
    assert main(["report", *words]) == 0
    out = capsys.readouterr().out
    assert "median_colour: nothing published is known of median_colour on mvtec" in out
    assert str(tmp_path / "new" / "report.md") in out
    lines = list(csv.DictReader((tmp_path / "new" / "report.csv").read_text().splitlines()))
    assert {line["run"] for line in lines} == {"winclip", "median_colour"}
    assert {line["published"] for line in lines if line["run"] == "median_colour"} == {""}
    assert re.search(r"\| published \[\d\] \| mvtec", (tmp_path / "new" / "report.md").read_text())


def test_runs_of_one_method_are_told_apart_and_none_is_there_twice(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    shutil.copy("outputs/winclip/results.json", tmp_path / "other.json")
    same = ["outputs/winclip", "outputs/winclip/results.json"]
    assert main(["report", *same, str(tmp_path / "other.json"), "format=csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {line["run"] for line in lines} == {"winclip (winclip)", "winclip (other.json)"}


def test_the_latest_run(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(runs)
    assert main(["report", "latest"]) == 0
    assert "median_colour" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "report needs a run"),
        (["nowhere"], "no readable results (nowhere)"),
        (["latest"], "no eval run"),
        (["a", "output=b"], "Did you mean out?"),
        (["a", "--out=b"], "unknown option"),
        (["a", "format=pdf"], "Known: csv, html, latex, markdown"),
        (["a", "format=csv", "out=b.html"], "the file's name says html, the format csv"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *words]) == 2
    line = capsys.readouterr().err
    assert said in line.replace("finished ", "")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "begin"), [("r.html", "<!doctype"), ("r.md", "| run |"), ("r.tex", "%"), ("r.csv", "run,")]
)
def test_a_files_name_says_its_format(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, begin: str
) -> None:
    monkeypatch.chdir(runs)
    assert main(["report", "outputs", f"out={tmp_path / name}"]) == 0  # a folder of runs
    text = (tmp_path / name).read_text()
    assert text.lstrip().startswith(begin)
    assert all(method in text for method in ("winclip", "median"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_format_alone_is_printed(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    assert main(["report", "outputs/winclip", "outputs/median_colour", "format=latex"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("% \\usepackage{booktabs}")
    assert r"median\_colour & mvtec" in out


def test_a_folder_gets_the_format_that_is_asked_for(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    assert main(["report", "outputs/winclip", f"out={tmp_path / 'new'}", "format=markdown"]) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.md"]


@pytest.mark.parametrize("out", ["outputs/winclip", "outputs/winclip/report.html"])
def test_a_report_does_not_take_the_place_of_a_run_s_own_page(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    monkeypatch.chdir(runs)
    page = (runs / "outputs/winclip/report.html").read_bytes()
    assert main(["report", "outputs/winclip", f"out={out}"]) == 2
    assert f"would be lost (out={out})" in capsys.readouterr().err
    assert (runs / "outputs/winclip/report.html").read_bytes() == page


def test_the_folder_of_a_demo_stands_for_the_runs_in_it(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs / "outputs", tmp_path / "demo")
    rows = [json.loads((tmp_path / f"demo/{name}/results.json").read_text())["rows"] for name in METHODS]
    (tmp_path / "demo/results.json").write_text(json.dumps({"run": {}, "rows": [row for part in rows for row in part]}))
    for folder in ("demo", "."):
        monkeypatch.chdir(tmp_path)
        assert main(["report", folder, "format=csv"]) == 0
        lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert {line["run"] for line in lines} == set(METHODS)
