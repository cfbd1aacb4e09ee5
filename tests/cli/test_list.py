"""`adbench list` prints tables quickly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adbench.cli.console import print_lines
from adbench.cli.main import main
from adbench.cli.override_parser import choices


@pytest.mark.parametrize(("topic", "group"), [("methods", "method"), ("clip", "clip")])
def test_every_entry_has_a_row(topic: str, group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", topic]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:] if line[1:2].strip()] == choices(group)
    assert max(map(len, lines)) <= 100


def test_data_sets_are_listed_in_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mvtec").mkdir()
    (tmp_path / "VisA").mkdir()
    (tmp_path / "VisA" / "a.png").touch()
    assert main(["data", "list", f"data_dir={tmp_path}"]) == 0
    where, *lines = capsys.readouterr().out.splitlines()
    assert str(tmp_path) in where
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.rstrip() for line in lines if line.strip()}
    assert set(choices("data")) <= set(rows)
    assert rows["mvtec"].endswith("no: its folder is empty")
    assert rows["btad"].endswith(" no")
    assert rows["visa"].endswith("yes, in VisA")
    assert rows["piped_mini"].endswith("ships with adbench")


def test_a_data_set_that_is_named_tells_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "visa", "piped_mini", f"data_dir={tmp_path}"]) == 0
    text = capsys.readouterr().out
    assert all(fact in text for fact in ("12: candle, capsules", "10,821 as published", "get it", "CC BY 4.0"))
    assert f"{tmp_path}/visa" in text
    assert "\n\npiped_mini: " in text


def test_list_data_names_data_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "data"]) == 2
    assert "python -m adbench data list" in capsys.readouterr().err


def test_lists_need_no_torch() -> None:
    code = "import sys; from adbench.cli.main import main; main(['list', 'methods', 'clip']); main(['data', 'list']); "
    done = subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("words", [["list"], ["list", "metods"], ["list", "methods", "dir=x"]])
def test_what_cannot_be_listed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "methods" in capsys.readouterr().err


def test_a_table_too_wide_for_its_place_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(["name", "other"], [["0123456789" * 3, "9876543210" * 3]], left=["name"], width=40)
    text = "".join(capsys.readouterr().out.split())
    assert "…" not in text
    assert sum(map(text.count, "0123456789")) == 60
