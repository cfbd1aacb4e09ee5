"""Signals: a step is finished, kept, and gone on from to the same weights; library calls install no handlers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from adbench.engine.checkpoint import load_checkpoint
from adbench.engine.settings import EvalData, OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.errors import UserError
from adbench.interrupts import Interrupted, deferred, watched
from engine.signalled import heeding_signals, points, run_in
from engine.tiny_engine import TinyMethod, fake_clip, write_dataset

CPU = torch.device("cpu")
SETTINGS = TrainSettings(epochs=3, batch_size=3, optimizer=OptimizerSpec(lr=0.1), log_every=4)


class SignalledMethod(TinyMethod):
    """Has itself sent a signal in its `at`-th loss, or where it scores; its loss is NaN from the `nan_from`-th on."""

    at = nan_from = 0
    in_score = False
    number = signal.SIGTERM

    def loss(self, features, batch):
        self.at, self.nan_from = self.at - 1, self.nan_from - 1
        if self.at == 0:
            os.kill(os.getpid(), self.number)
        terms = super().loss(features, batch)
        return {"pixel": terms["pixel"] * torch.nan} if self.nan_from == 0 else terms

    def score(self, features, batch):
        if self.in_score:
            os.kill(os.getpid(), self.number)
        return super().score(features, batch)


def build(**changes):
    torch.manual_seed(0)
    method = SignalledMethod(fake_clip(), noise=0.3)
    for name, value in changes.items():
        setattr(method, name, value)
    return method


@pytest.fixture(autouse=True)
def heeded():
    with heeding_signals():
        yield


@pytest.fixture
def data(tmp_path):
    return [TrainData(name="tiny", samples=write_dataset(tmp_path / "tiny"))]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("at", [1, 6, 8])  # the first step; the last one of an epoch; one in the middle
def test_a_signal_keeps_the_step_and_training_goes_on_to_the_same_weights(tmp_path, data, name, at):
    number = getattr(signal, name)
    whole, torn = run_in(tmp_path / "whole"), run_in(tmp_path / "torn")
    train(build(), data, SETTINGS, whole, device=CPU)
    with pytest.raises(Interrupted) as caught, watched():
        train(build(at=at, number=number), data, SETTINGS, torn, device=CPU)
    assert caught.value.status == 128 + number
    assert load_checkpoint(torn.checkpoint_path).record["position"]["step"] == at

    train(build(), data, SETTINGS, torn, device=CPU)
    assert torn.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert points(torn) == points(whole)


def test_a_signal_during_validation_keeps_the_epoch_and_validates_again(tmp_path, data):
    held = [EvalData(name="held", samples=write_dataset(tmp_path / "held", name="held", seed=1))]
    whole, torn = run_in(tmp_path / "whole"), run_in(tmp_path / "torn")
    train(build(), data, SETTINGS, whole, device=CPU, validation=held)
    with pytest.raises(Interrupted), watched():
        train(build(in_score=True), data, SETTINGS, torn, device=CPU, validation=held)
    assert load_checkpoint(torn.checkpoint_path).record["position"] | {"window": {}, "whole": {}} == {
        **{"epoch": 0, "batch": 6, "step": 6, "stage": 0, "stage_epoch": 0, "stage_step": 0},
        **{"best": None, "best_state": {}},
        **{"window": {}, "whole": {}},
    }

    train(build(), data, SETTINGS, torn, device=CPU, validation=held)
    assert torn.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert points(torn) == points(whole)


def test_a_checkpoint_is_of_a_step_behind_which_the_loss_was_finite(tmp_path, data):
    run = run_in(tmp_path / "run")
    with pytest.raises(UserError, match=r"not finite: pixel nan.* at step 5 .*last good checkpoint is kept"):
        train(build(nan_from=5), data, replace(SETTINGS, checkpoint_steps=1), run, device=CPU)

    assert load_checkpoint(run.checkpoint_path).record["position"]["step"] == 3


def test_a_training_that_ends_not_finite_leaves_no_weights(tmp_path, data):
    run = run_in(tmp_path / "run")
    method = build(nan_from=7)
    with pytest.raises(UserError, match="not finite with the final weights at step 6"):
        train(method, data, replace(SETTINGS, epochs=1), run, device=CPU)

    assert not run.weights_path.exists()


def test_a_library_call_works_in_a_thread_and_leaves_handlers_alone(tmp_path, data):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with ThreadPoolExecutor() as pool:
        result = pool.submit(train, build(), data, replace(SETTINGS, epochs=1), run_in(tmp_path / "run"), device=CPU)
        assert result.result().steps == 6
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_handlers_are_put_back_and_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with watched():
            os.kill(os.getpid(), signal.SIGHUP)
            with deferred(), watched():
                pass
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        thread = threading.Thread(target=lambda: watched().__enter__())
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_at_once():
    code = (
        "import os, signal, time\n"
        "from adbench.interrupts import deferred, watched\n"
        "with watched(), deferred():\n"
        "    os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('one'); time.sleep(0.5)\n"
        "    print('two', flush=True); os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('never', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.split()) == (143, ["one", "two"])
    assert done.stderr == ""
