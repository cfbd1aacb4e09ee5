"""Sizes that suit the machine: numbers in place of "auto", found by trying, and rows that do not depend on them."""

from __future__ import annotations

import pytest
import torch

from adbench.data.loading import in_turn, make_loader
from adbench.engine import auto_sizes
from adbench.engine.auto_sizes import largest_batch, n_workers, sized
from adbench.engine.evaluate import evaluate
from adbench.engine.progress import Quiet
from adbench.engine.settings import EvalData, EvalSettings
from engine.tiny_engine import TinyMethod, build_method, fake_clip, write_dataset

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def samples(tmp_path):
    return write_dataset(tmp_path / "tiny")


class Large(TinyMethod):
    """Has room for nine images, as a GPU would say."""

    def encode(self, batch):
        if len(batch) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode(batch)


def test_the_batch_is_halved_until_twice_as_many_images_fit(samples):
    assert largest_batch(Large(fake_clip()), samples[0], EvalSettings(), CPU) == 4


def test_looking_draws_nothing_from_the_streams(samples):
    method = build_method(noise=0.1)
    torch.manual_seed(3)
    before = torch.get_rng_state()

    assert largest_batch(method, samples[0], EvalSettings(), CPU) == auto_sizes.MOST_IMAGES

    assert torch.equal(torch.get_rng_state(), before)


def test_a_cpu_takes_one_image_at_a_time_and_no_processes(samples):
    settings = sized(EvalSettings(), build_method(), samples, CPU, Quiet())

    assert (settings.batch_size, settings.workers) == (1, 0)


def test_beside_a_gpu_each_rank_takes_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(auto_sizes.os, "sched_getaffinity", lambda _: set(range(12)))

    assert n_workers("auto", GPU) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (n_workers("auto", GPU), n_workers(5, GPU), n_workers("auto", CPU)) == (3, 5, 0)


def test_numbers_that_were_asked_for_stay(samples):
    asked = EvalSettings(batch_size=3, workers=2)

    assert sized(asked, build_method(), samples, CPU, Quiet()) == asked


@pytest.mark.parametrize("workers", [0, 1])
def test_one_loader_serves_several_classes_in_turn(samples, workers):
    transform = build_method().transform
    parts = [samples[:5], [], samples[5:7], samples[7:]]
    loaders = [make_loader(part, transform, batch_size=2, workers=workers, with_masks=True) for part in parts]

    given = [[key for batch in batches for key in batch.paths] for batches in in_turn(loaders)]

    assert given == [[sample.key for sample in part] for part in parts]


def test_rows_do_not_depend_on_workers(tmp_path, samples):
    data = EvalData(name="tiny", samples=samples)
    one, other = (evaluate(build_method(), data, EvalSettings(workers=n), device=CPU) for n in (0, 1))

    for row, again in zip(one, other, strict=True):
        assert {**row, "seconds": 0, "images_per_second": 0} == {**again, "seconds": 0, "images_per_second": 0}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_rows_on_a_gpu_with_pinned_pixels_equal_those_of_a_cpu(samples):
    data = EvalData(name="tiny", samples=samples)
    rows = [evaluate(build_method(), data, EvalSettings(), device=device) for device in (CPU, GPU)]

    for on_cpu, on_gpu in zip(*rows, strict=True):
        assert on_gpu["pixel_auroc"] == pytest.approx(on_cpu["pixel_auroc"], abs=1e-5, nan_ok=True)
