"""Help answers at once and without torch."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from adbench.cli.main import command_names, help_text, main

COMMANDS = ("data", "demo", "eval", "list", "parity", "report", "train")


def test_the_commands_are_found() -> None:
    assert set(COMMANDS) <= set(command_names())


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_takes_less_than_a_second_and_no_torch(words: list[str]) -> None:
    code = f"import sys; from adbench.cli.main import main; sys.exit(main({words!r}) or 'torch' in sys.modules)"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    print(f"adbench {' '.join(words)}: {min(seconds):.2f} s")
    assert min(seconds) < 1


def test_help_names_every_command_and_fits_the_terminal() -> None:
    text = help_text()
    for name in command_names():
        assert f"\n  {name} " in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_no_words_mean_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == help_text()
