from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data.episodes import Episode, EpisodePlan
from adbench.data.loading import make_episode_loader
from adbench.data.mosaic import Mosaic, paste
from adbench.data.sample import Sample
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError


def make(folder: Path, number: int, *, size: tuple[int, int] = (4, 2), label: int = 0, kind: str = "bolt") -> Sample:
    """An image of one grey value, 10 x number, with a full mask if anomalous."""
    image, mask = folder / f"{kind}{number}.png", folder / f"{kind}{number}_mask.png"
    Image.new("L", size, 10 * number).save(image)
    Image.new("L", size, 255).save(mask)
    return Sample(image, image.name, kind, label, mask if label else None, "test", "x", "mvtec")


def test_four_images_are_pasted_row_by_row_on_twice_the_first_size(tmp_path: Path) -> None:
    parts = [make(tmp_path, number, label=number % 2) for number in range(4)]
    image, mask = paste(parts)
    assert image.size == mask.size == (8, 4)
    assert image.mode == "RGB"
    corners = np.asarray(image)[::2, ::4, 0]
    np.testing.assert_array_equal(corners, [[0, 10], [20, 30]])
    np.testing.assert_array_equal(np.asarray(mask)[::2, ::4], [[0, 255], [0, 255]])


def test_other_sizes_are_resized_to_the_first(tmp_path: Path) -> None:
    parts = [make(tmp_path, 1), *(make(tmp_path, n, size=(7, 9), label=1) for n in (2, 3, 4))]
    image, mask = paste(parts)
    assert image.size == (8, 4)
    np.testing.assert_array_equal(np.unique(np.asarray(image)), [10, 20, 30, 40])
    assert np.asarray(mask).sum() == 255 * 3 * 8


def test_partners_come_from_the_own_class_without_repetition(tmp_path: Path) -> None:
    samples = [make(tmp_path, n, kind=kind) for kind in ("bolt", "nut") for n in range(6)]
    for epoch in range(20):
        parts = Mosaic(samples, {"mvtec": 1.0}, (0, epoch)).draw(0)
        assert parts is not None
        assert {part.class_name for part in parts} == {"bolt"}
        assert len({part.key for part in parts}) == 4


def test_the_probability_is_that_of_the_data_set(tmp_path: Path) -> None:
    samples = [make(tmp_path, n) for n in range(5)]
    share = np.mean([Mosaic(samples, {"mvtec": 0.2}, (0, epoch)).draw(0) is not None for epoch in range(2000)])
    assert 0.17 < share < 0.23
    assert Mosaic(samples, {"other": 1.0}, (0, 0)).draw(0) is None
    assert Mosaic(samples[:3], {"mvtec": 1.0}, (0, 0)).draw(0) is None
    with pytest.raises(UserError, match="mvtec"):
        Mosaic(samples, {"mvtec": 1.5}, (0, 0))


def test_mosaics_depend_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    samples = [make(tmp_path, n, label=n % 2) for n in range(12)]
    transform = ClipTransform(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def images(*, batch_size: int, seed: int = 1, epoch: int = 0, workers: int = 0, order: int = 0) -> dict[str, bytes]:
        episodes = EpisodePlan(samples, batch_size=batch_size, seed=order).batches(0)
        settings = {"seed": seed, "epoch": epoch, "workers": workers, "mosaic": {"mvtec": 0.5}}
        loader = make_episode_loader(samples, transform, episodes, **settings)
        pairs = [pair for batch in loader for pair in zip(batch.paths, batch.images, strict=True)]
        return {key: image.numpy().tobytes() for key, image in pairs}

    first = images(batch_size=4)
    assert images(batch_size=5, order=7) == first
    assert images(batch_size=1, workers=2) == first
    assert images(batch_size=4, epoch=1) != first
    assert images(batch_size=4, seed=2) != first


def test_a_mosaic_keeps_the_label_of_the_indexed_image(tmp_path: Path) -> None:
    samples = [make(tmp_path, n, label=int(n == 0)) for n in range(8)]
    transform = ClipTransform(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    (batch,) = make_episode_loader(samples, transform, [Episode(tuple(range(8)))], mosaic={"mvtec": 1.0})
    assert batch.labels.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert batch.masks is not None
    # The anomalous quarter turns up in mosaics of normal images too.
    assert (batch.masks.flatten(1).sum(1) == 16).sum() >= 2


def test_a_seed_gives_the_mosaics_that_it_has_always_given(tmp_path: Path) -> None:
    samples = [make(tmp_path, n) for n in range(9)]
    for epoch in range(8):
        random = np.random.default_rng([3, epoch, 2, 4])
        expected = None if random.random() >= 0.5 else [samples[i] for i in random.choice(9, 4, replace=False)]
        assert Mosaic(samples, {"mvtec": 0.5}, (3, epoch)).draw(4) == expected
