"""What a training step is fed with beside images: numbers for what a method draws, by image and epoch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adbench.data.sample import Batch
from adbench.engine.progress import Quiet
from adbench.engine.settings import TrainSettings
from adbench.engine.train_batches import TrainBatches
from engine.tiny_engine import build_method, write_dataset
from simulated_gpu import simulated_gpu


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


def test_a_gpu_gets_pixels_and_normalises_them_to_the_same_bits(tmp_path, monkeypatch):
    samples, loaded = write_dataset(tmp_path, name="mvtec"), []
    settings = TrainSettings(epochs=1, batch_size=3, cache="off", workers=0, mosaic={"mvtec": 0.5})

    def batches(device):
        feed = TrainBatches(build_method(), samples, settings, device=device, reporter=Quiet())
        return [(batch.images.cpu(), batch.masks.cpu()) for _, batch, _ in feed.epoch(0)]

    monkeypatch.setattr(Batch, "pin_memory", lambda batch: loaded.append(batch.images.dtype) or batch)
    here = batches(torch.device("cpu"))
    assert loaded == []
    with simulated_gpu() as gpu:
        there = batches(gpu)
    assert set(loaded) == {torch.uint8}
    for (image, mask), (expected, expected_mask) in zip(there, here, strict=True):
        assert image.dtype == torch.float32
        assert torch.equal(image, expected)
        assert torch.equal(mask, expected_mask)
