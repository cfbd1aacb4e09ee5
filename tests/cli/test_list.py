"""`adbench list` prints tables quickly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adbench.cli.main import main
from adbench.cli.override_parser import choices


@pytest.mark.parametrize(("topic", "group"), [("methods", "method"), ("clip", "clip")])
def test_every_entry_has_a_row(topic: str, group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", topic]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == choices(group)


def test_data_sets_are_listed_by_data_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mvtec").mkdir()
    assert main(["data", "list", f"data_dir={tmp_path}"]) == 0
    listed = capsys.readouterr().out
    assert main(["list", "data", f"data_dir={tmp_path}"]) == 0
    assert capsys.readouterr().out == listed
    rows = {line.split()[0]: line for line in listed.splitlines() if line.strip()}
    assert set(choices("data")) <= set(rows)
    assert f"not in {tmp_path}" in rows["visa"]
    assert "ships with adbench" in rows["piped_mini"]


def test_lists_need_no_torch() -> None:
    code = "import sys; from adbench.cli.main import main; main(['list', 'methods', 'data', 'clip']); "
    done = subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("words", [["list"], ["list", "metods"], ["list", "data", "dir=x"]])
def test_what_cannot_be_listed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "methods" in capsys.readouterr().err
