"""Calls behind a loop: their order, their errors, how many wait; evaluations that go on behind the loop."""

from __future__ import annotations

import os
import signal
import threading
import time
from unittest import mock

import numpy as np
import pytest
import torch

from adbench.engine.accumulate import BATCHES_BEHIND, accumulate
from adbench.engine.accumulators import ClassAccumulator
from adbench.engine.behind import Behind
from adbench.engine.evaluate import evaluate
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings
from adbench.errors import UserError
from adbench.interrupts import Interrupted, watched
from adbench.report.heatmaps import paint
from engine.signalled import heeding_signals
from engine.tiny_engine import TinyMethod, fake_clip, write_dataset

CPU = torch.device("cpu")
SETTINGS = EvalSettings(batch_size=1, heat_maps=2, maps=True)


class Ahead(Behind):
    """Makes each call at once, in the thread of the loop: the plain path."""

    def give(self, call):
        call()


def fail(error):
    raise error


@pytest.fixture
def data(tmp_path):
    return EvalData(name="tiny", samples=write_dataset(tmp_path / "data"))


@pytest.fixture
def method():
    torch.manual_seed(0)
    return TinyMethod(fake_clip())


def test_calls_are_made_in_order_and_all_of_them():
    made = []
    with Behind(3) as behind:
        for number in range(200):
            behind.give(lambda number=number: made.append(number))
    assert made == list(range(200))


def test_who_gives_more_than_there_is_room_for_waits():
    gate, given = threading.Event(), []

    def give_three():
        with Behind(2) as behind:
            for number in range(3):
                behind.give(gate.wait)
                given.append(number)

    loop = threading.Thread(target=give_three)
    loop.start()
    time.sleep(0.1)
    assert given == [0, 1]
    gate.set()
    loop.join()
    assert given == [0, 1, 2]


def loop(room, *calls, end=None):
    """Give all calls, then end with an error, if one is given."""
    with Behind(room) as behind:
        for call in calls:
            behind.give(call)
        if end is not None:
            raise end


@pytest.mark.parametrize("room", [1, 3])
def test_the_first_error_comes_through_and_nothing_is_made_after_it(room):
    made = []
    calls = [lambda: fail(UserError("first")), lambda: made.append(1), lambda: fail(UserError("last"))]
    with pytest.raises(UserError, match="first"):
        loop(room, *calls)
    assert not made


@pytest.mark.parametrize(("end", "raised"), [(ValueError(), UserError), (KeyboardInterrupt(), KeyboardInterrupt)])
def test_an_error_of_the_loop_hides_none_that_came_before_it_and_ctrl_c_remains(end, raised):
    with pytest.raises(raised):
        loop(1, lambda: fail(UserError("before")), end=end)


def test_what_was_given_is_done_before_an_interruption_goes_on():
    done = []
    with pytest.raises(KeyboardInterrupt):
        loop(2, lambda: (time.sleep(0.05), done.append(1)), end=KeyboardInterrupt())
    assert done == [1]


def test_a_signal_while_the_end_waits_lets_the_rest_be_done():
    done = []

    def late():
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        done.append(1)

    with heeding_signals(), watched(), pytest.raises(Interrupted):
        loop(1, late)
    assert done == [1]


def _results(method, data, folder):
    run, scores = RunFolder(folder), []
    rows = evaluate(method, data, SETTINGS, device=CPU, run=run, painter=paint, scores=scores)
    files = {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix == ".png"
    }
    maps = {path.name: dict(np.load(path)) for path in sorted(folder.rglob("*.npz"))}
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows], scores, files, maps


def test_rows_pictures_and_maps_are_those_of_the_plain_path(method, data, tmp_path):
    rows, scores, files, maps = _results(method, data, tmp_path / "behind")
    with mock.patch("adbench.engine.accumulate.Behind", Ahead), mock.patch("adbench.engine.evaluate.Behind", Ahead):
        plain = _results(method, data, tmp_path / "plain")
    assert repr((rows, scores)) == repr(plain[:2])  # NaN included, to the bit
    assert files == plain[2]
    assert files
    for name, arrays in plain[3].items():
        assert {key: value.tobytes() for key, value in arrays.items()} == {
            key: value.tobytes() for key, value in maps[name].items()
        }


def test_the_tower_is_never_more_than_two_batches_ahead(method, data):
    scored, taken, ahead = [], [], []
    update = ClassAccumulator.update

    def slow(self, prediction, batch):
        time.sleep(0.01)
        update(self, prediction, batch)
        taken.append(1)

    def score(features, batch):
        scored.append(1)
        ahead.append(len(scored) - len(taken))
        return TinyMethod.score(method, features, batch)

    with mock.patch.object(ClassAccumulator, "update", slow), mock.patch.object(method, "score", score):
        accumulate(method, data.samples[:8], SETTINGS, device=CPU, with_masks=True)
    assert len(taken) == 8
    assert 2 <= max(ahead) <= BATCHES_BEHIND + 1  # the one that is being scored included


def test_a_full_disk_while_pictures_are_drawn_is_an_error_of_the_run(method, data, tmp_path):
    full = OSError(28, "No space left on device")
    with (
        mock.patch("adbench.engine.evaluate.save_pictures", side_effect=full),
        pytest.raises(OSError, match="No space left"),
    ):
        _results(method, data, tmp_path)
