"""Every code block of README.md and docs/ runs on the demo, or where it needs more than that, is known to compose."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adbench.cli import demo
from adbench.cli.main import main
from adbench.errors import UserError
from cli.composing import MISSING, compose
from docs.blocks import REPOSITORY, SHELLS, Block, adbench_words, blocks_of, name_of, pages
from docs.prepared import make_small, prepare, shorten
from plugged import forgotten

SHELL_COMMANDS = ("mkdir", "cp", "ls", "cat", "head")
"""What else a page may run; anything else needs a marker."""

AT_ONCE = ("compare", "data", "list", "parity", "predict", "calibrate", "report", "support", "verify")
"""Commands that end within seconds where there are no data; of others the keys are looked up in their help."""


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, forgotten():
        make_small(patch)
        yield


@pytest.fixture(scope="module")
def prepared(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    prepare(folder)
    return folder


@pytest.fixture
def reader(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the page's own; rendered data are shared."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns("data"))
    (prepared / "data").mkdir(exist_ok=True)
    (folder / "data").symlink_to(prepared / "data")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ADBENCH_DATA", raising=False)
    return folder


def runnable(page: Path) -> list[Block]:
    return [b for b in blocks_of(page) if not b.needs and (b.title or b.language in (*SHELLS, "python"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in pages() if runnable(page)], ids=name_of)
def test_blocks_run(page: Path, reader: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in runnable(page):
        if block.title:
            (reader / block.title).parent.mkdir(parents=True, exist_ok=True)
            (reader / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)
        for command in block.commands:
            run(command, block)


def run(command: str, block: Block) -> None:
    """Run it in this process where it is ours. It must end with status 0."""
    words = adbench_words(command)
    if words is None:
        program = shlex.split(command)[0]
        assert program in SHELL_COMMANDS, f"{block.place}: {program}: give the block a marker <!-- needs: ... -->"
        subprocess.run(["bash", "-ec", command], check=True)
    else:
        assert main(shorten(words)) == 0, f"{block.place}: {command}"


MARKED = [
    (command, block) for page in pages() for block in blocks_of(page) if block.needs for command in block.commands
]


@pytest.mark.parametrize(("command", "block"), MARKED, ids=[f"{b.place} {c}" for c, b in MARKED])
def test_marked_commands_are_understood(
    command: str, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their settings compose, or they miss a file; no word of them is unknown."""
    monkeypatch.chdir(tmp_path)
    words = adbench_words(command)
    if words is None:
        check_other(command)
    elif words[0] in ("train", "eval"):
        said = complaint(words)
        assert said == "" or re.search(MISSING, said), said
    elif words[0] in AT_ONCE:
        monkeypatch.chdir(REPOSITORY if words[0] == "parity" else tmp_path)
        status = main(words)
        said = capsys.readouterr().err
        assert status == 0 or re.search(MISSING, said), said
    else:
        assert main([words[0], "--help"]) == 0
        explained = capsys.readouterr().out
        keys = {word.partition("=")[0] for word in words[1:] if "=" in word}
        assert {key for key in keys if key not in explained and key.partition(".")[0] + "." not in explained} == set()


def complaint(words: list[str]) -> str:
    try:
        compose(words)
    except UserError as error:
        return str(error)
    return ""


def check_other(command: str) -> None:
    """Targets of make and extras of pip exist."""
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
        assert set(words[1:]) <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for extra in re.findall(r"\[([\w,]+)\]", command) if words[0] == "pip" else []:
        assert re.search(rf"^{extra} = \[", (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_quick_start_shows_what_the_demo_runs() -> None:
    by_demo = [f"train {demo.TRAIN}"] + [f"eval {step} {demo.DATA}" for step in demo.STEPS.values()]
    expected = {frozenset(shorten(line.replace("TRAINED", "latest").split())) for line in by_demo}
    quick_start = REPOSITORY / "docs" / "quick_start.md"
    block = next(b for b in blocks_of(quick_start) if "checkpoint=untrained" in b.text)
    assert {frozenset(shorten(adbench_words(command) or [])) for command in block.commands} == expected
