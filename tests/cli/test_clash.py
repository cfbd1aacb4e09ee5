"""The other project called adbench is noticed, and the mend is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import adbench
from adbench.cli.clash import check_distribution
from adbench.errors import UserError


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages in which the foreign distribution stands."""
    info = tmp_path / "adbench-0.1.11.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adbench\nVersion: 0.1.11\n")
    return tmp_path


def test_alone_there_is_nothing_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    check_distribution()
    assert capsys.readouterr().err == ""


def test_beside_the_foreign_distribution_one_line_warns(site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "adbench", "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "adbench 0.1.11" in done.stderr
    assert "pip uninstall adbench; pip install --force-reinstall" in done.stderr


def test_replaced_files_are_an_error(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delattr(adbench, "__version__")
    with pytest.raises(UserError, match="has replaced our files"):
        check_distribution()
