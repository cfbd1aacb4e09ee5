from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adbench.data.episodes import EpisodePlan
from adbench.data.loading import _Batches, has_masks, load_batch, make_episode_loader, make_loader
from adbench.data.sample import Batch, Sample
from adbench.data.transforms import ClipTransform
from adbench.data.worker_processes import told_of_lost_memory
from adbench.errors import UserError

TRANSFORM = ClipTransform(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), map_size=6)


@pytest.fixture
def samples(tmp_path: Path, draw: Callable[..., Path]) -> list[Sample]:
    """Eleven images; every third is anomalous and has a mask."""
    entries = []
    for number in range(11):
        label = int(number % 3 == 0)
        image = draw(tmp_path / f"{number:02d}.png", value=20 * number + 20)
        mask = draw(tmp_path / f"{number:02d}_mask.png", mode="L", value=255) if label else None
        entries.append(Sample(image, image.name, "bolt", label, mask, "test", "x" if label else "good", "widgets"))
    return entries


def keys(loader: Iterable[Batch]) -> list[str]:
    return [key for batch in loader for key in batch.paths]


def assert_equal(left: Batch, right: Batch) -> None:
    assert left.paths == right.paths
    assert left.class_names == right.class_names
    assert torch.equal(left.images, right.images)
    assert torch.equal(left.labels, right.labels)
    assert left.masks is not None
    assert right.masks is not None
    assert torch.equal(left.masks, right.masks)


def test_a_batch_has_the_promised_shapes_and_types(samples: list[Sample]) -> None:
    batch = load_batch(samples[:4], TRANSFORM)
    assert batch.images.shape == (4, 3, 8, 8)
    assert batch.images.dtype == torch.float32
    assert batch.masks is not None
    assert batch.masks.shape == (4, 6, 6)
    assert batch.masks.dtype == torch.bool
    assert batch.labels.tolist() == [1, 0, 0, 1]
    assert batch.labels.dtype == torch.int64
    assert batch.masks.flatten(1).any(1).tolist() == [True, False, False, True]
    assert batch.dataset == "widgets"
    assert batch.paths == ["00.png", "01.png", "02.png", "03.png"]


def test_without_shuffling_the_order_is_that_of_the_samples(samples: list[Sample]) -> None:
    loader = make_loader(samples, TRANSFORM, batch_size=4)
    assert len(loader) == 3
    assert keys(loader) == [sample.key for sample in samples]


def test_a_later_part_of_an_epoch_decodes_nothing_of_the_first(samples: list[Sample]) -> None:
    episodes, settings = EpisodePlan(samples, batch_size=2, seed=3).batches(2), {"seed": 3, "epoch": 2}
    every = list(make_episode_loader(samples, TRANSFORM, episodes, **settings))
    for path in every[0].paths:
        (samples[0].path.parent / path).write_text("broken")
    rest = list(make_episode_loader(samples, TRANSFORM, episodes[1:], **settings))
    for batch, expected in zip(rest, every[1:], strict=True):
        assert_equal(batch, expected)


def test_workers_give_the_same_batches_and_leave_the_global_generator_alone(samples: list[Sample]) -> None:
    episodes = EpisodePlan(samples, batch_size=3, seed=5).batches(0)
    settings = {"episodes": episodes, "seed": 5, "mosaic": {"widgets": 0.5}}
    state = torch.get_rng_state()
    alone = list(make_episode_loader(samples, TRANSFORM, **settings))
    helped = list(make_episode_loader(samples, TRANSFORM, workers=2, **settings))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(alone) == len(helped) == 4
    for left, right in zip(alone, helped, strict=True):
        assert_equal(left, right)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_file_is_one_line_with_and_without_workers(samples: list[Sample], workers: int) -> None:
    samples[4].path.write_bytes(samples[4].path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"image file cannot be read.*04\.png") as caught:
        list(make_loader(samples, TRANSFORM, batch_size=2, workers=workers))
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.where.endswith("04.png")


def test_masks_are_present_if_any_sample_has_one_or_as_told(samples: list[Sample]) -> None:
    normal = [sample for sample in samples if not sample.label]
    assert has_masks(samples)
    assert not has_masks(normal)
    assert load_batch(normal, TRANSFORM).masks is None
    zeros = load_batch(normal, TRANSFORM, with_masks=True).masks
    assert zeros is not None
    assert not zeros.any()
    bare = replace(samples[0], mask_path=None)
    mixed = next(iter(make_loader([bare, samples[3]], TRANSFORM, batch_size=2))).masks
    assert mixed is not None
    assert mixed.flatten(1).any(1).tolist() == [False, True]


def test_several_data_sets_are_named_together(samples: list[Sample]) -> None:
    other = replace(samples[1], dataset="gadgets")
    assert load_batch([samples[0], other, samples[2]], TRANSFORM).dataset == "widgets+gadgets"


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 1, "workers": -2}])
def test_impossible_settings_are_refused(samples: list[Sample], wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=list(wrong)[-1]):
        make_loader(samples, TRANSFORM, **wrong)


def test_nothing_to_load(samples: list[Sample]) -> None:
    assert list(make_loader([], TRANSFORM, batch_size=2)) == []
    with pytest.raises(UserError, match="no images"):
        load_batch([], TRANSFORM)


def test_other_than_clip_transforms_work(samples: list[Sample]) -> None:
    class Mean:
        image_size = 1

        def image(self, image: object) -> torch.Tensor:
            return torch.full((3, 1, 1), float(np.asarray(image).mean()))

        def mask(self, mask: object) -> torch.Tensor:
            return torch.tensor([[bool(np.asarray(mask).any())]])

        def describe(self) -> dict[str, object]:
            return {}

    batch = load_batch(samples[:2], Mean())
    assert batch.images.shape == (2, 3, 1, 1)
    assert batch.masks is not None
    assert batch.masks.flatten().tolist() == [True, False]


@pytest.mark.parametrize(
    "said",
    [
        "DataLoader worker (pid 7) is killed by signal: Killed. ",
        "unable to open shared memory object </torch_7_1> in read-write mode: Too many open files (24)",
        "unable to write to file </torch_7_1>: No space left on device (28)",
    ],
)
def test_a_dead_loader_process_is_said_in_one_line(said: str) -> None:
    with pytest.raises(UserError, match="a loader process died") as caught, told_of_lost_memory():
        raise RuntimeError(said)
    assert said.strip() in str(caught.value)
    with pytest.raises(RuntimeError, match="shapes"), told_of_lost_memory():
        raise RuntimeError("shapes do not match")


def test_a_gpu_without_room_is_one_line() -> None:
    said = "CUDA out of memory. Tried to allocate 2 GiB.\nProcess 1 has 78 GiB in use."
    with (
        pytest.raises(UserError, match=r"GPU has not enough memory.*eval\.batch_size") as caught,
        told_of_lost_memory(),
    ):
        raise torch.OutOfMemoryError(said)
    assert "Tried to allocate 2 GiB" in str(caught.value)
    assert "eval.batch_size" in str(caught.value)
    assert "\n" not in str(caught.value)
    for said in (
        "CUDA error: out of memory\nSearch for ...",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling ...",
    ):
        with pytest.raises(UserError, match="GPU has not enough memory"), told_of_lost_memory():
            raise RuntimeError(said)


def test_a_killed_loader_process_ends_the_loading(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    load = _Batches.__getitem__

    def dying(batches: _Batches, number: int) -> Batch:
        if torch.utils.data.get_worker_info() is not None and number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(batches, number)

    monkeypatch.setattr(_Batches, "__getitem__", dying)
    before = set(multiprocessing.active_children())
    gc.disable()  # the other process ends with the loading, not when somebody looks for garbage
    try:
        list(make_loader(samples, TRANSFORM, batch_size=1, workers=2))
    except UserError as error:
        said = str(error)
    finally:
        gc.enable()
    assert "a loader process died" in said
    assert "trainer.workers=0" in said
    assert set(multiprocessing.active_children()) <= before


def test_loader_processes_that_are_held_to_the_end_keep_nobody_waiting() -> None:
    script = """
from adbench.data.worker_processes import from_workers
held = from_workers(range(9), range(9), workers=2, pinned=False)
print(next(held))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "0\n"


@pytest.mark.parametrize("which", [slice(1, 3), [2, 0, 0]])
def test_rows_of_a_batch_have_every_column_of_their_images(samples: list[Sample], which: slice | list[int]) -> None:
    batch = load_batch(samples[:4], TRANSFORM, with_masks=True)
    part = batch.rows(which)
    numbers = list(range(4))[which] if isinstance(which, slice) else which
    for column in ("class_names", "paths", "sizes", "contents", "annotated"):
        assert getattr(part, column) == [getattr(batch, column)[number] for number in numbers]
    for column in ("images", "labels", "masks"):
        assert torch.equal(getattr(part, column), torch.stack([getattr(batch, column)[number] for number in numbers]))
    assert part.dataset == batch.dataset
