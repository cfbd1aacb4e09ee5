"""A method that is trained in stages: one training runs, logs, keeps and resumes them all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from adbench.engine.checkpoint import load_checkpoint
from adbench.engine.settings import EvalData, OptimizerSpec, StageSettings, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.engine.weights import read_record
from adbench.errors import UserError
from adbench.interrupts import Interrupted, watched
from engine.signalled import heeding_signals, points, run_in
from engine.tiny_engine import TinyMethod, fake_clip, write_dataset

CPU = torch.device("cpu")
FIRST, SECOND = OptimizerSpec(lr=0.1), OptimizerSpec(lr=0.02, schedule="steps", milestones=(3,), gamma=0.5)
SETTINGS = TrainSettings(
    epochs=2,
    batch_size=3,
    optimizer=SECOND,
    log_every=1,
    stages={"weight": StageSettings(epochs=1, batch_size=4, optimizer={"lr": 0.1, "schedule": "constant"})},
)
# 16 images: 4 steps in the first stage, 2 x 6 in the second


class Staged(TinyMethod):
    """Learns its weight, then its bias; sends itself a signal in its `at`-th loss, or where the second stage begins."""

    training_stages = ("weight", "bias")
    at = 0
    at_second = False
    number = signal.SIGTERM

    def begin_stage(self, stage):
        self.stage = stage
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name == f"head.{stage}")
        if self.at_second and stage == "bias":
            os.kill(os.getpid(), self.number)

    def loss(self, features, batch):
        self.at -= 1
        if self.at == 0:
            os.kill(os.getpid(), self.number)
        return super().loss(features, batch)


class OneStage(Staged):
    """Learns one of them alone, as a training of its own."""

    training_stages = ()
    own = ""

    def begin_stage(self, stage):
        super().begin_stage(self.own)


def build(cls=Staged, **changes):
    torch.manual_seed(0)
    method = cls(fake_clip(), noise=0.3)
    for name, value in changes.items():
        setattr(method, name, value)
    return method


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    with heeding_signals():
        yield


@pytest.fixture
def data(tmp_path):
    return [TrainData(name="tiny", samples=write_dataset(tmp_path / "tiny"))]


def test_one_training_is_two_the_second_started_from_the_first(tmp_path, data):
    method = build()
    train(method, data, SETTINGS, run_in(tmp_path / "both"), device=CPU)
    for own, settings in (
        ("weight", TrainSettings(epochs=1, batch_size=4, optimizer=FIRST)),
        ("bias", TrainSettings(epochs=2, batch_size=3, optimizer=SECOND)),
    ):
        start = str(tmp_path / "weight") if own == "bias" else None
        single = build(OneStage, own=own)
        train(single, data, replace(settings, init_from=start), run_in(tmp_path / own), device=CPU)
    for name, value in single.learnable_state().items():
        assert torch.equal(value, method.learnable_state()[name]), name
    assert not torch.equal(method.head.weight, build().head.weight)


def test_steps_and_epochs_are_counted_through_and_rates_within(tmp_path, data):
    run = run_in(tmp_path / "run")
    train(build(), data, SETTINGS, run, device=CPU)
    steps = [point for point in points(run) if point["kind"] == "step"]
    assert [point["step"] for point in steps] == list(range(1, 17))
    assert [point["stage"] for point in steps] == [1] * 4 + [2] * 12
    assert [point["epoch"] for point in steps] == [1] * 4 + [2] * 6 + [3] * 6
    assert [point["learning_rate"] for point in steps] == [0.1] * 4 + [0.02] * 3 + [0.01] * 9
    record = read_record(run.path)
    assert record is not None
    assert (record.step, record.epoch) == (16, 3)


# In the first stage; its last step; the loss behind it, whether it is finite; the first step of the second stage; in an
# epoch there; its last
@pytest.mark.parametrize(("at", "step"), [(2, 2), (4, 4), (5, 4), (6, 5), (9, 8), (17, 16)])
def test_a_signal_in_any_stage_keeps_the_step_and_training_goes_on(tmp_path, data, at, step):
    whole, torn = run_in(tmp_path / "whole"), run_in(tmp_path / "torn")
    train(build(), data, SETTINGS, whole, device=CPU)
    with pytest.raises(Interrupted), watched():
        train(build(at=at), data, SETTINGS, torn, device=CPU)
    position = load_checkpoint(torn.checkpoint_path).position
    assert (position.step, position.stage) == (step, int(step > 4))
    train(build(), data, SETTINGS, torn, device=CPU)
    assert torn.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert points(torn) == points(whole)


def test_a_signal_between_stages_goes_on_with_the_second(tmp_path, data):
    whole, torn = run_in(tmp_path / "whole"), run_in(tmp_path / "torn")
    train(build(), data, SETTINGS, whole, device=CPU)
    with pytest.raises(Interrupted), watched():
        train(build(at_second=True), data, SETTINGS, torn, device=CPU)
    position = load_checkpoint(torn.checkpoint_path).position
    assert (position.step, position.stage, position.epoch, position.epochs) == (4, 1, 0, 1)
    second = build()
    train(second, data, SETTINGS, torn, device=CPU)
    assert second.stage == "bias"
    assert torn.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert points(torn) == points(whole)


def test_the_last_stage_alone_is_validated_and_selected_from(tmp_path, data):
    held = EvalData(name="held", samples=write_dataset(tmp_path / "held", name="held", seed=1))
    run, settings = run_in(tmp_path / "run"), replace(SETTINGS, select="best_on_test", select_metric="pixel_ap")
    result = train(build(), data, settings, run, device=CPU, validation=[held])
    assert [point["epoch"] for point in points(run) if point["kind"] == "validation"] == [2, 3]
    assert result.record.selection is not None
    assert result.record.epoch in (2, 3)


def test_settings_of_a_stage_are_checked(tmp_path, data):
    with pytest.raises(UserError, match=r"unknown stage of tiny 'wieght'.*'weight'"):
        train(build(), data, replace(SETTINGS, stages={"wieght": StageSettings()}), run_in(tmp_path / "a"), device=CPU)
    with pytest.raises(UserError, match=r"trainer\.stages\.weight\.optimizer\.lr is -1"):
        TrainSettings(stages={"weight": StageSettings(optimizer={"lr": -1})})
    changed = replace(SETTINGS, stages={"weight": StageSettings(epochs=3)})
    train(build(), data, SETTINGS, run_in(tmp_path / "run"), device=CPU)
    with pytest.raises(UserError, match=r"another training: training\.stages\.weight"):
        train(build(), data, changed, run_in(tmp_path / "run"), device=CPU)
