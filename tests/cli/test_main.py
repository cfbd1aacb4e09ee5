"""Exit statuses and the one line on stderr."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from adbench.cli import list as list_command
from adbench.cli import main as main_module
from adbench.cli.main import main
from adbench.errors import UserError


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "method=adaclip"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("adbench: error: unknown command 'trian'")
    assert "did you mean 'train'?" in captured.err.lower()
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("word", ["main", "config", "method=adaclip", "--verbose", "../train", "a.b"])
def test_what_is_no_command(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    assert "unknown command" in capsys.readouterr().err


def test_debug_gives_the_exception() -> None:
    with pytest.raises(UserError, match="unknown command"):
        main(["trian", "--debug"])


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_argv: Sequence[str]) -> int:
        raise KeyboardInterrupt("Go on with: python -m adbench train out=here")

    monkeypatch.setattr(list_command, "run", interrupted)
    assert main(["list"]) == 130
    assert "Go on with: python -m adbench train out=here" in capsys.readouterr().err


def test_a_defect_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_argv: Sequence[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(list_command, "run", broken)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_a_new_command_is_one_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "greet.py").write_text('"""Say hello."""\n\ndef run(argv):\n    print("hello", *argv)\n    return 0\n')
    package = sys.modules["adbench.cli"]
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    assert "greet        Say hello." in main_module.help_text()
    capsys.readouterr()
    assert main(["greet", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    assert main(["greet", "--help"]) == 0
    assert capsys.readouterr().out == "Say hello.\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m adbench --help | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("adbench ")
    assert done.stderr == ""


def test_what_the_system_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_argv: Sequence[str]) -> int:
        raise OSError(30, "Read-only file system", "/results")

    monkeypatch.setattr(list_command, "run", refused)
    assert main(["list"]) == 2
    assert capsys.readouterr().err.startswith("adbench: error: Read-only file system (/results). Choose a folder")
    with pytest.raises(OSError, match="Read-only"):
        main(["list", "--debug"])


def test_how_to_go_on_never_drops_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: object, **_settings: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("adbench.engine.train.train", interrupted)
    words = ["method=adaclip", "data=piped_mini", "clip=demo", "device=cpu", "resume=false", f"out={tmp_path / 'run'}"]
    assert main(["train", *words]) == 143
    line = capsys.readouterr().err.splitlines()[-1]
    assert "Go on with: python -m adbench train method=adaclip" in line
    assert "resume" not in line
