"""`adbench demo` in small: every step on a few pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.cli import demo
from adbench.cli.main import main
from adbench.cli.overrides import Overrides
from cli.few_pictures import TRAIN, write_pictures


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's steps on two folders of pictures instead of the rendered world."""
    write_pictures(tmp_path / "pictures" / "paper")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "TRAIN", " ".join(TRAIN))
    monkeypatch.setattr(demo, "DATA", "data=piped_mini data.classes=[PA_BDP01_TL]")
    return tmp_path


def test_one_table_holds_the_method_and_its_floors(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "out=shown", "seed=3"]) == 0
    rows = json.loads((small / "shown" / "results.json").read_text())["rows"]
    assert [row["method"] for row in rows if row["class_name"] == "mean"] == list(demo.STEPS)
    by_label = {row["method"]: row for row in rows}
    assert by_label["adaclip"]["weights"] is not None
    assert by_label["adaclip (untrained)"]["weights"] is None
    printed = capsys.readouterr().out
    for label in demo.STEPS:
        assert label in printed
    for file in ("results.json", "results.csv", "results.md", "report.html", "adaclip/report.html"):
        assert str(Path("shown") / file) in printed
        assert (small / "shown" / file).is_file()


def test_the_demo_takes_few_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "sed=3"]) == 2
    assert "Did you mean seed?" in capsys.readouterr().err


def test_each_demo_has_its_own_folder() -> None:
    assert demo.choose_folder(Overrides("demo", ["out=~/here"])) == Path("~/here").expanduser()
    assert demo.choose_folder(Overrides("demo", [])).parent == Path("outputs") / "demo"
