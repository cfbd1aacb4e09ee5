"""`adbench data list|check|show`: what is printed, written and returned."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from adbench.cli.main import main
from adbench.data import catalogue
from cli.few_pictures import write_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A data folder with one set of its own, folder/paper/{good,bad,masks}."""
    write_pictures(tmp_path / "folder" / "paper")
    return tmp_path


def test_every_data_set_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mvtec" / "bottle").mkdir(parents=True)
    (tmp_path / "tn3k").mkdir()
    assert main(["data", "list", "-v", f"data_dir={tmp_path}"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(catalogue.names()) <= set(lines)
    assert lines["mvtec"].rstrip().endswith(str(tmp_path / "mvtec"))
    assert " no: its folder is empty " in lines["tn3k"]
    assert "5,354" in lines["mvtec"]
    assert "CC BY-NC-SA 4.0" in lines["mvtec"]
    assert " road        no " in lines["cityscapes"]
    assert "ships with adbench" in lines["piped_mini"]
    assert "60,000" in lines["cifar10"]


@pytest.mark.parametrize(
    ("name", "images", "known"),
    [
        ("mvtec", "5,354 as published", "Some classes are stored as grey images."),
        ("dtd", "not known for certain: data check cannot compare their number", "Numbers per class could not be"),
        ("autovi", "known for certain of 4 of 6 classes alone: data check cannot", "pipe_clip and pipe_staple"),
        ("endo", "200 as published", "the archive itself could not be seen"),
    ],
)
def test_a_named_set_says_what_is_known_of_it_and_what_is_not(
    name: str, images: str, known: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "list", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 or "://" in line for line in lines)  # an address is not broken
    (line,) = [line for line in lines if line.startswith("  images ")]
    assert line.startswith(f"  images      {images}")
    assert known in " ".join(line.strip() for line in lines)


def test_the_data_folder_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "visa").mkdir()
    monkeypatch.setenv("ADBENCH_DATA", str(tmp_path))
    assert main(["data", "list"]) == 0
    assert f"looked for in {tmp_path};" in capsys.readouterr().out


def test_a_clean_copy_passes(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "folder", f"data_dir={pictures}"]) == 0
    captured = capsys.readouterr()
    assert "folder: no problems" in captured.out
    assert "6 images" in captured.out
    assert "fingerprint" in captured.out
    assert "check folder  6/6" in captured.err


def test_a_faulty_copy_fails_with_a_line_per_problem(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pictures / "folder" / "paper"
    (folder / "bad" / "1.png").write_bytes((folder / "bad" / "1.png").read_bytes()[:300])
    Image.new("L", (64, 40), 255).save(folder / "masks" / "2.png")
    assert main(["data", "check", "folder", f"data.root={pictures / 'folder'}", "decode=true"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("folder: ")]
    assert len(lines) == 3
    assert "truncated" in lines[0]
    assert "64x40" in lines[1]
    assert lines[2] == "folder: 2 problems"


def test_several_sets_are_checked_in_one_command(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "folder", "piped_mini", f"data_dir={pictures}"]) == 0
    assert "piped_mini: no problems" in capsys.readouterr().out


def test_a_part_of_the_classes_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "data=piped_mini", "data.classes=[PA_BDP01_TL]"]) == 0
    assert "18 images" in capsys.readouterr().out


def test_a_sheet_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pictures" / "sheet.png"
    assert main(["data", "show", "piped_mini", f"out={out}", "images=1"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    with Image.open(out) as sheet:
        assert sheet.height > 3 * 160


def test_without_words_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    assert "usage  python -m adbench data list" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chek", "mvtec"], "Did you mean 'check'?"),
        (["check", "mvtek"], "Did you mean 'mvtec'?"),
        (["check"], "needs a data set"),
        (["show"], "needs a data set"),
        (["list", "mvtek"], "Did you mean 'mvtec'?"),
        (["check", "mvtec", "data_dir=/nowhere"], "/nowhere/mvtec"),
        (["check", "mvtec", "dataa_dir=x"], "Did you mean data_dir?"),
        (["check", "piped_mini", "decode=5"], "give true or false".capitalize()),
        (["check", "piped_mini", "demo", "data.root=x"], "2 data sets are named"),
        (["check", "piped_mini", "data.classes=[PA_BDP01]"], "'PA_BDP01_TL'"),
        (["check", "piped_mini", "data.option=1"], "unknown setting 'data.option'"),
        (["show", "piped_mini", "out=a.jpg"], "out=a.png"),
        (["show", "piped_mini", "images=0"], "at least 1"),
        (["show", "piped_mini", "--images=1"], "unknown option"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
