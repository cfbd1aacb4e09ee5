"""Help answers at once and without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from adbench.cli.main import command_names, help_text, main

COMMANDS = ("bench", "data", "demo", "eval", "list", "parity", "report", "train")


def test_the_commands_are_found() -> None:
    assert set(COMMANDS) <= set(command_names())


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_loads_nothing_that_takes_time(words: list[str]) -> None:
    code = (
        "import sys; from adbench.cli.main import main; status = main(sys.argv[1:]); "
        "sys.exit(status or ','.join({'torch', 'numpy', 'hydra', 'PIL', 'rich'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_help_names_every_command_and_fits_the_terminal() -> None:
    text = help_text()
    for name in command_names():
        assert f"\n  {name} " in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_no_words_mean_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == help_text()
