"""Python's garbage collector while a command starts and ends."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
from pathlib import Path

import pytest

from adbench.cli.collector import paused
from cli.few_pictures import picture

_COUNTING = """
import gc
passes = []
gc.callbacks.append(lambda phase, _facts: passes.append(phase))
from adbench.cli.main import main
main({!r})
import sys
print(len(passes) // 2, gc.isenabled(), "torch" in sys.modules)
"""
_ENDING = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 0))  # runs behind what is registered later
import adbench.__main__
"""


def _answer(program: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("on", [True, False])
def test_a_pause_leaves_the_collector_as_it_was(on: bool) -> None:
    try:
        if not on:
            gc.disable()
        with contextlib.suppress(ZeroDivisionError), paused(), paused():
            assert not gc.isenabled()
            raise ZeroDivisionError
        assert gc.isenabled() is on
    finally:
        gc.enable()


def test_only_the_first_pause_takes_what_there_is_out_of_the_collectors_sight() -> None:
    with paused():
        pass
    frozen = gc.get_freeze_count()
    garbage: list[object] = []
    garbage.append(garbage)
    with paused():
        pass
    assert 0 < frozen >= gc.get_freeze_count()


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "--show", "method=adaclip", "checkpoint=untrained", "clip=demo", "data=demo"],
        ["train", "--show", "method=adaclip", "clip=demo", "data=demo"],
        ["predict", "method=clip_zeroshot", "clip=demo", "input=one.png"],
    ],
    ids=lambda words: words[0],
)
def test_nothing_is_collected_while_pytorch_is_imported(words: list[str], tmp_path: Path) -> None:
    picture(0, spot=True)[0].save(tmp_path / "one.png")
    passes, is_on, has_torch = _answer(_COUNTING.format(words), tmp_path).split()
    assert (is_on, has_torch) == ("True", "True")
    assert int(passes) < 300  # with the collector on: 500 and more


def test_nothing_is_collected_at_the_end_of_a_process(tmp_path: Path) -> None:
    assert _answer(_ENDING, tmp_path) == "True"


def test_triton_tells_of_nothing_that_is_left_at_the_end() -> None:
    pytest.importorskip("triton")
    program = "import adbench.__main__, torch; torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "leaked" not in done.stderr


def test_what_was_frozen_with_triton_is_looked_through_at_the_end(tmp_path: Path) -> None:
    compiled = "import gc, sys\ngc.freeze()\nsys.modules['triton'] = sys\n"
    assert _answer(compiled + _ENDING, tmp_path) == "False"
