"""Whatever interrupts an evaluation or a training, the method's memory and mode are its own again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adbench.data.support import SupportSettings, draw_supports
from adbench.engine.accumulate import accumulate
from adbench.engine.adapt import build_memory_banks
from adbench.engine.evaluate import evaluate
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.engine.validate import sample_pictures
from engine.tiny_engine import TinyMethod, fake_clip, write_dataset

CPU = torch.device("cpu")


class Interruptible(TinyMethod):
    """Is interrupted at the `after`-th call of `where`."""

    adapts = True
    where, after = "", 0

    def _call(self, name):
        if name == self.where:
            self.after -= 1
            if self.after < 0:
                raise KeyboardInterrupt

    def encode(self, batch):
        self._call("encode")
        return super().encode(batch)

    def score(self, features, batch):
        self._call("score")
        return super().score(features, batch)

    def loss(self, features, batch):
        self._call("loss")
        return super().loss(features, batch)

    def adapt(self, class_name, support, features=None):
        self._call("adapt")
        self.memory_bank[class_name] = support.images.mean()


@pytest.fixture
def data(tmp_path):
    samples = write_dataset(tmp_path / "tiny")
    pool = [replace(sample, split="train") for sample in samples if not sample.label]
    normal = {name: [one for one in pool if one.class_name == name] for name in ("dots", "lines")}
    supports = draw_supports(SupportSettings(k=(1, 2)), normal, dataset="tiny")
    scored = [sample for sample in samples if sample.label]
    return EvalData(name="tiny", samples=scored, supports=supports)


def method_at(where, after, *, training):
    method = Interruptible(fake_clip())
    method.where, method.after = where, after
    method.train(training)
    method.head.train(not training)  # a part may have another mode than the whole
    method.memory_bank = {"own": 1}
    return method


def check_as_before(method, training):
    assert method.memory_bank == {"own": 1}
    assert (method.training, method.head.training) == (training, not training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("where", "after"), [("encode", 0), ("encode", 3), ("score", 1), ("adapt", 1), ("never", 0)])
def test_an_evaluation_leaves_the_method_as_it_was(data, where, after, training):
    method, stopped = method_at(where, after, training=training), where != "never"
    try:
        evaluate(method, data, EvalSettings(batch_size=2), device=CPU)
    except KeyboardInterrupt:
        assert stopped
    else:
        assert not stopped
    check_as_before(method, training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("where", ["encode", "score"])
def test_so_do_measuring_and_pictures(data, where, training):
    settings = EvalSettings(batch_size=2)
    calls = (
        lambda method: accumulate(method, data.samples, settings, device=CPU, with_masks=True),
        lambda method: sample_pictures(method, data, settings, 2, device=CPU),
        lambda method: build_memory_banks(method, [data.supports[1, 0]["dots"]] * 2, settings, device=CPU),
    )
    for call in calls if where == "encode" else calls[:2]:
        method = method_at(where, 0, training=training)
        with pytest.raises(KeyboardInterrupt):
            call(method)
        check_as_before(method, training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("where", "after"), [("loss", 2), ("score", 1), ("never", 0)])
def test_a_training_leaves_memory_and_mode_as_they_were(tmp_path, data, where, after, training):
    method, stopped = method_at(where, after, training=training), where != "never"
    run = RunFolder.create("train", "tiny", "tiny", out=tmp_path / "run")
    settings, sets = TrainSettings(batch_size=2), [TrainData(name="tiny", samples=data.samples)]
    try:
        train(method, sets, settings, run, device=CPU, validation=[data])
    except KeyboardInterrupt:
        assert stopped
    else:
        assert not stopped
    check_as_before(method, training)
