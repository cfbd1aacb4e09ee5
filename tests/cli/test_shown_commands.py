"""The commands that --help and the methods' YAML files show compose (those of README.md and docs/: `tests/docs`)."""

from __future__ import annotations

import re
import shlex

import pytest

from adbench.cli.main import SETTINGS, main
from adbench.shipped import configs_dir
from cli.composing import MISSING, compose

HEADERS = [
    file.read_text(encoding="utf-8").replace("#  ", "")
    for group in ("method", "benchmark")
    for file in (configs_dir() / group).glob("*.yaml")
]
WITH_HELP = ("train", "eval", "data", "report", "compare", "verify", "predict", "calibrate")
HELPS = [SETTINGS, *(__import__(f"adbench.cli.{name}", fromlist=["HELP"]).HELP for name in WITH_HELP)]
OTHERS = ("data", "report", "compare", "verify", "predict", "calibrate")


def commands(*texts: str) -> list[str]:
    lines = re.findall(r"^ *(python -m adbench [a-z]+ .*?)(?: +#.*)?$", "\n".join(texts), flags=re.MULTILINE)
    return sorted({line for line in lines if not re.search(r"\b(NAME|DIR|COMMAND|CASE_DIR|RUN)\b", line)})


@pytest.mark.parametrize("command", [c for c in commands(*HELPS, *HEADERS) if c.split()[3] in ("train", "eval")])
def test_commands_compose(command: str) -> None:
    assert compose(shlex.split(command)[3:]).data


@pytest.mark.parametrize("command", [c for c in commands(*HELPS) if c.split()[3] == "list"])
def test_lists_run(command: str) -> None:
    assert main(shlex.split(command)[3:]) == 0


@pytest.mark.parametrize("command", [c for c in commands(*HELPS) if c.split()[3] in OTHERS])
def test_words_of_other_commands_are_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They end well or miss a file, but no word of them is unknown."""
    status = main(shlex.split(command, comments=True)[3:])
    said = capsys.readouterr().err
    assert status == 0 or re.search(MISSING, said), said
