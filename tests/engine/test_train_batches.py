"""What a training step is fed with beside images: numbers for what a method draws, by image and epoch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adbench.engine.progress import Quiet
from adbench.engine.settings import TrainSettings
from adbench.engine.train_batches import TrainBatches
from engine.tiny_engine import build_method, write_dataset


def seeds(samples, settings, epoch):
    batches = TrainBatches(build_method(), samples, settings, device=torch.device("cpu"), reporter=Quiet())
    found = {}
    for _, batch, _ in batches.epoch(epoch):
        found |= dict(zip(batch.paths, batch.seeds, strict=True))
    return found


@pytest.mark.parametrize("change", [{"batch_size": 1}, {"workers": 1}, {"cache": "ram"}], ids=str)
def test_seeds_go_by_image_and_epoch(tmp_path, change):
    samples = write_dataset(tmp_path)
    settings = TrainSettings(epochs=2, batch_size=3, cache="off")
    first = seeds(samples, settings, 0)
    assert len(set(first.values())) == len(first) == len(samples)
    assert seeds(samples, replace(settings, **change), 0) == first
    assert set(seeds(samples, settings, 1).values()).isdisjoint(first.values())
    assert set(seeds(samples, replace(settings, seed=5), 0).values()).isdisjoint(first.values())
