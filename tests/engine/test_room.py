"""A GPU that runs out of memory behind its probe: batches are halved, rows stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adbench.engine.evaluate import evaluate
from adbench.engine.settings import EvalData, EvalSettings
from adbench.errors import UserError
from engine.tiny_engine import TinyMethod, Told, fake_clip, write_dataset
from simulated_gpu import GPU, simulated_gpu

CPU = torch.device("cpu")


class Small(TinyMethod):
    """Has room for so many images, in `encode` or in `score`; draws for each image, also where it then fails."""

    listed = False

    def __init__(self, clip, **hyperparameters):
        super().__init__(clip, **hyperparameters)
        self.room = {"encode": 99, "score": 99}

    def _fill(self, what, batch):
        if len(batch) > self.room[what]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    def encode(self, batch):
        features = super().encode(batch)
        self._fill("encode", batch)
        return features

    def score(self, features, batch):
        prediction = super().score(features, batch)
        self._fill("score", batch)
        if self.listed:
            prediction = replace(prediction, maps=list(prediction.maps))
        return prediction


def build(**room):
    torch.manual_seed(0)
    method = Small(fake_clip(), noise=0.1)
    method.room |= room
    return method


def rows_of(method, data, batch_size, told=None, device=CPU):
    rows = evaluate(method, data, EvalSettings(batch_size=batch_size), device=device, reporter=told)
    return repr([{key: value for key, value in row.items() if "second" not in key} for row in rows])


@pytest.fixture
def data(tmp_path):
    return EvalData(name="tiny", samples=write_dataset(tmp_path))


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("room", [{"encode": 2}, {"score": 2}, {"encode": 4, "score": 3}, {"score": 1}])
def test_rows_are_those_of_a_batch_that_fits_and_the_size_is_said_once(data, room, listed):
    told, method = Told(), build(**room)
    method.listed = listed

    rows = rows_of(method, data, 8, told)

    assert rows == rows_of(build(), data, min(room.values()))
    sizes = [line for line in told.lines if line.startswith("batch size")]
    assert len(sizes) == {1: 3, 2: 2, 3: 2}[min(room.values())]  # one for each halving, none for later batches
    assert sizes[0] == "batch size   8 images are too many for the GPU's memory: 4 at a time"


def test_a_single_image_without_room_is_one_line(data):
    with pytest.raises(UserError, match="the GPU has not enough memory: CUDA out of memory"):
        rows_of(build(score=0), data, 4)


def test_on_a_gpu_too(data):
    method = TinyMethod(fake_clip())
    expected = rows_of(method, data, 2)
    with simulated_gpu():
        full = build(score=2)
        full.noise = 0.0
        full.load_state_dict(method.state_dict())
        told = Told()
        assert rows_of(full, data, 8, told, GPU) == expected
    assert len(told.lines) == 2
