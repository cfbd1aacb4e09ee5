"""Batches of road scenes: label maps, mixed sizes, augmentation that nothing but the seed decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adbench.data.episodes import EpisodePlan
from adbench.data.loading import load_batch, make_episode_loader, make_loader
from adbench.data.sample import Sample
from adbench.data.segmentation import Augmentation, SegmentationTransform
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError

SCENES = SegmentationTransform(
    mean=(0.5,) * 3,
    std=(0.5,) * 3,
    short_side=16,
    long_side=64,
    multiple=8,
    augmentation=Augmentation(short_sides=(16, 24), long_side=64, crop=(16, 24)),
)
SQUARE = ClipTransform(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SIZES = [(16, 32), (16, 32), (16, 32), (20, 32), (20, 32), (16, 32), (16, 32)]


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Seven scenes of two sizes; every second one has anomalous pixels."""
    made = []
    for number, (height, width) in enumerate(SIZES):
        random = np.random.default_rng(number)
        labels = np.zeros((height, width), np.uint8)
        labels[:2] = 255
        if number % 2:
            labels[5:9, 6:12] = 1
        image, mask = tmp_path / f"{number}.png", tmp_path / f"{number}_labels.png"
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(image)
        Image.fromarray(labels).save(mask)
        mapping = {0: 0, 1: 1, 255: 255}
        made.append(Sample(image, image.name, "road", -1, mask, "val", "?", "made", label_ids=mapping))
    return made


def test_labels_come_at_their_own_size_and_say_what_is_anomalous(samples: list[Sample]) -> None:
    batch = load_batch(samples[:3], SCENES)
    assert batch.images.shape == (3, 3, 16, 32)
    assert batch.label_maps is not None
    assert batch.label_maps.dtype == torch.int64
    assert batch.label_maps.shape == (3, 16, 32)
    assert batch.label_maps[1].unique().tolist() == [0, 1, 255]
    assert batch.labels.tolist() == [0, 1, 0]
    assert batch.sizes == [(16, 32)] * 3


def test_a_square_preprocessing_gets_the_labels_at_their_own_size_too(samples: list[Sample]) -> None:
    (first, second, third) = make_loader(samples, SQUARE, batch_size=8)
    assert first.images.shape == (3, 3, 8, 8)
    assert [batch.label_maps.shape[1:] for batch in (first, second, third)] == [(16, 32), (20, 32), (16, 32)]


def test_a_batch_ends_where_the_size_changes(samples: list[Sample]) -> None:
    loader = make_loader(samples, SCENES, batch_size=2)
    batches = list(loader)
    assert [len(batch) for batch in batches] == [2, 1, 2, 2]
    assert len(loader) == 4
    assert [key for batch in batches for key in batch.paths] == [sample.key for sample in samples]
    assert all(batch.sizes == [tuple(batch.label_maps.shape[1:])] * len(batch) for batch in batches)
    assert [batch.paths for batch in batches[2:]] == [["3.png", "4.png"], ["5.png", "6.png"]]


def test_binary_sets_of_mixed_sizes_are_split_as_well(samples: list[Sample]) -> None:
    plain = [replace(sample, label_ids=None, label=1) for sample in samples]
    batches = list(make_loader(plain, SCENES, batch_size=8))
    assert [len(batch) for batch in batches] == [3, 2, 2]
    assert batches[1].masks.shape == (2, 20, 32)
    assert batches[1].masks.dtype == torch.bool
    assert [len(batch) for batch in make_loader(plain, SQUARE, batch_size=8)] == [7]


def test_labels_that_are_held_back_give_batches_without_masks(samples: list[Sample]) -> None:
    mixed = [*samples[:1], *(replace(sample, mask_path=None) for sample in samples[1:3])]
    known, unknown = make_loader(mixed, SCENES, batch_size=8)
    assert known.label_maps is not None
    assert unknown.label_maps is None
    assert unknown.labels.tolist() == [-1, -1]


def test_images_of_several_sizes_are_never_stacked(samples: list[Sample]) -> None:
    with pytest.raises(UserError, match="several sizes cannot be one batch"):
        load_batch(samples, SCENES)


def test_augmentation_is_a_function_of_seed_epoch_and_index(samples: list[Sample]) -> None:
    def epoch(number: int, *, seed: int = 1, workers: int = 0, batch_size: int = 2):
        plan = EpisodePlan(samples, batch_size=batch_size, seed=9)
        loader = make_episode_loader(samples, SCENES, plan.batches(0), seed=seed, epoch=number, workers=workers)
        return {
            key: (image, mask)
            for batch in loader
            for key, image, mask in zip(batch.paths, batch.images, batch.targets, strict=True)
        }

    first = epoch(0)
    assert len(first) == 7
    assert all(image.shape == (3, 16, 24) and mask.shape == (16, 24) for image, mask in first.values())
    for again in (epoch(0, workers=2), epoch(0, batch_size=3)):
        assert all(
            torch.equal(again[key][0], first[key][0]) and torch.equal(again[key][1], first[key][1]) for key in again
        )
    for other in (epoch(1), epoch(0, seed=2)):
        assert not all(torch.equal(other[key][0], first[key][0]) for key in first)


def test_training_needs_label_maps_and_a_preprocessing_for_them(samples: list[Sample]) -> None:
    plan = EpisodePlan(samples, batch_size=2, seed=0).batches(0)
    with pytest.raises(UserError, match="takes masks"):
        make_episode_loader(samples, SQUARE, plan)
    bare = [replace(sample, mask_path=None) for sample in samples]
    with pytest.raises(UserError, match="no label map to train on"):
        list(make_episode_loader(bare, SCENES, plan))


def test_an_overlay_is_added_in_a_signed_type_and_cut(tmp_path: Path) -> None:
    pixels = np.full((4, 6, 3), 100, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    overlay = np.zeros((4, 6, 3), np.int16)
    overlay[0, 0], overlay[0, 1], overlay[0, 2] = -130, 200, -40
    np.savez(tmp_path / "a.npz", rgb=overlay)
    plain = Sample(tmp_path / "a.png", "a.png", "road", 0, None, "val", "?", "made")
    composed = replace(plain, overlay_path=tmp_path / "a.npz")
    from adbench.data.images import open_picture

    assert np.asarray(open_picture(plain)).tolist() == pixels.tolist()
    seen = np.asarray(open_picture(composed))
    assert seen[0, :4, 0].tolist() == [0, 255, 60, 100]
    np.savez(tmp_path / "a.npz", rgb=overlay[:2])
    with pytest.raises(UserError, match=r"overlay holds .*a\.npz"):
        open_picture(composed)
    np.savez(tmp_path / "a.npz", other=overlay)
    with pytest.raises(UserError, match=r"overlay file cannot be read.*a\.npz"):
        open_picture(composed)
    (tmp_path / "a.npz").unlink()
    with pytest.raises(UserError, match=r"overlay file is missing.*a\.npz"):
        open_picture(composed)
