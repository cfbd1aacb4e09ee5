"""The commands that README.md, docs/, --help and the methods' YAML files show compose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from adbench.cli import demo
from adbench.cli.config import EvalConfig, TrainConfig, train_config
from adbench.cli.main import SETTINGS, command_names
from adbench.cli.main import main as run_command_line
from adbench.cli.overrides import Overrides
from adbench.cli.plan import preview
from adbench.shipped import configs_dir

REPOSITORY = Path(__file__).parents[2]
README = "\n".join(
    file.read_text(encoding="utf-8")
    for file in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("**/*.md"))]
)
HEADERS = [
    file.read_text(encoding="utf-8").replace("#  ", "")
    for group in ("method", "benchmark")
    for file in (configs_dir() / group).glob("*.yaml")
]
WITH_HELP = ("train", "eval", "data", "report", "compare", "verify", "predict", "calibrate")
HELPS = [SETTINGS, *(__import__(f"adbench.cli.{name}", fromlist=["HELP"]).HELP for name in WITH_HELP)]


def commands(text: str) -> list[str]:
    text = re.sub(r"^( *)torchrun .*? -m adbench ", r"\1python -m adbench ", text, flags=re.MULTILINE)
    found = re.findall(r"^ *(python -m adbench [a-z]+ .*?)(?: +#.*)?$", text, flags=re.MULTILINE)
    return [command for command in found if not re.search(r"\b(NAME|DIR|COMMAND|CASE_DIR|RUN)\b", command)]


def compose(command: str) -> TrainConfig | EvalConfig:
    name, *words = shlex.split(command)[3:]
    if "-m" in words:  # the first job of the sweep
        words = [word.partition(",")[0] for word in words if word != "-m" and not word.startswith("hydra/")]
    words = [word for word in words if not word.startswith("--")]
    if name == "train":
        return train_config(Overrides(name, words))
    if not any(word.startswith("method=") for word in words):
        words.append("method=adaclip")  # as the checkpoint would say
    return preview(Overrides(name, words))


def shown(*texts: str) -> list[str]:
    return sorted({command for text in texts for command in commands(text)})


@pytest.mark.parametrize("command", [c for c in shown(README, *HELPS, *HEADERS) if c.split()[3] in ("train", "eval")])
def test_commands_compose(command: str) -> None:
    assert compose(command).data


@pytest.mark.parametrize("command", [c for c in shown(README, *HELPS) if c.split()[3] == "list"])
def test_lists_run(command: str) -> None:
    assert run_command_line(shlex.split(command)[3:]) == 0


OTHERS = ("data", "report", "compare", "verify", "predict", "calibrate")


@pytest.mark.parametrize("command", [c for c in shown(README, *HELPS) if c.split()[3] in OTHERS])
def test_words_of_other_commands_are_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They end well or miss a file, but no word of them is unknown."""
    status = run_command_line(shlex.split(command, comments=True)[3:])
    said = capsys.readouterr().err
    assert status == 0 or re.search(
        r"is missing|no readable results|no finished eval run|no eval run|no scores of single|no such file|no pictures",
        said,
    ), said


def test_the_readme_shows_what_the_demo_runs() -> None:
    by_demo = [f"train {demo.TRAIN}"] + [f"eval {step} {demo.DATA}" for step in demo.STEPS.values()]
    expected = {frozenset(line.replace("TRAINED", "latest").split()) for line in by_demo}
    block = README.partition("which runs these commands")[2].partition("```sh\n")[2].partition("```")[0]
    assert {frozenset(shlex.split(line)[3:]) for line in block.splitlines()} == expected


def test_every_command_of_the_readme_exists() -> None:
    assert set(re.findall(r"python -m adbench ([a-z]+)", README)) <= set(command_names())


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^):#]+)\)", README):
        assert (REPOSITORY / target).is_file(), target
