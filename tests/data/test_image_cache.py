"""Images that are decoded once: bit-equal, found only for the same files, whole or not at all."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from adbench.data import fingerprint, items
from adbench.data.image_cache import ImageCache
from adbench.data.loading import load_batch, make_loader
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError
from engine.tiny_engine import MEAN, STD, write_dataset

TRANSFORM = ClipTransform(15, MEAN, STD, map_size=13)


@pytest.fixture
def samples(tmp_path):
    return write_dataset(tmp_path / "tiny")


def written(folder, samples, transform=TRANSFORM, **settings):
    cache = ImageCache(folder, samples, transform, **settings)
    cache.write(make_loader(samples, transform, batch_size=3, as_pixels=True, **settings))
    return cache


def equal(batch, other):
    assert (batch.paths, batch.sizes, batch.contents) == (other.paths, other.sizes, other.contents)
    assert batch.annotated == other.annotated
    return torch.equal(batch.images, other.images) and torch.equal(batch.masks, other.masks)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_equal_those_of_decoded_files_to_the_bit(tmp_path, samples, workers):
    cache = written(tmp_path / "cache", samples)

    for plain, fast in zip(
        make_loader(samples, TRANSFORM, batch_size=4),
        make_loader(samples, TRANSFORM, batch_size=4, cache=cache, workers=workers),
        strict=True,
    ):
        assert equal(plain, fast)


def test_images_of_one_file_are_kept_apart(tmp_path, samples):
    good, bad = samples[0], next(sample for sample in samples if sample.label == 1)
    two = [good, replace(good, key="dots/overlaid.png", label=1, mask_path=bad.mask_path)]
    cache = written(tmp_path / "cache", two, with_masks=True)

    (plain,), (fast,) = (make_loader(two, TRANSFORM, batch_size=2, cache=kept) for kept in (None, cache))

    assert equal(plain, fast)
    assert fast.masks[1].any() > fast.masks[0].any()


def test_pixels_normalise_to_the_same_images(tmp_path, samples):
    cache = written(tmp_path / "cache", samples)

    (batch,) = make_loader(samples[:6], TRANSFORM, batch_size=6, as_pixels=True, cache=cache)

    assert batch.images.dtype == torch.uint8
    assert equal(replace(batch, images=TRANSFORM.normalised(batch.images)), load_batch(samples[:6], TRANSFORM))


def test_nothing_is_decoded_again(tmp_path, samples, monkeypatch):
    cache = written(tmp_path / "cache", samples)
    monkeypatch.setattr(items, "open_picture", lambda sample: pytest.fail("decoded"))

    assert len(list(make_loader(samples, TRANSFORM, batch_size=1, cache=cache))) == len(samples)
    assert ImageCache(tmp_path / "cache", samples, TRANSFORM).exists()


def test_another_content_under_the_same_name_and_time_is_another_cache(tmp_path, samples):
    old, first = written(tmp_path / "cache", samples), samples[0].path
    times = (first.stat().st_atime_ns, first.stat().st_mtime_ns)
    Image.fromarray(255 - np.asarray(Image.open(first))).save(first)
    os.utime(first, ns=times)

    new = ImageCache(tmp_path / "cache", samples, TRANSFORM)

    assert not new.exists()
    new.write(make_loader(samples, TRANSFORM, batch_size=3, as_pixels=True))
    assert [path for path in (old.path, new.path) if path.exists()] == [new.path]


@pytest.mark.parametrize("change", [{"image_size": 14}, {"map_size": 12}, {"rgb": "after"}, {"mean": (0.1, 0.1, 0.1)}])
def test_another_transform_has_a_cache_of_its_own(tmp_path, samples, change):
    cache = written(tmp_path / "cache", samples)

    other = ImageCache(tmp_path / "cache", samples, replace(TRANSFORM, **change))

    assert not other.exists()
    assert cache.exists()


def test_what_else_decides_the_result_has_a_cache_of_its_own(tmp_path, samples, monkeypatch):
    folder = tmp_path / "cache"
    written(folder, samples)
    for change in ({"exif": True}, {"bits": 12}, {"threshold": 127}, {"inverted": True}):
        read = [replace(sample, reading=replace(sample.reading, **change)) for sample in samples]
        assert not ImageCache(folder, read, TRANSFORM).exists()
    assert not ImageCache(folder, samples, TRANSFORM, with_masks=False).exists()
    assert not ImageCache(folder, samples, TRANSFORM, code="of an edited plug-in").exists()
    with monkeypatch.context() as other:
        other.setattr("PIL.__version__", "0.1")
        assert not ImageCache(folder, samples, TRANSFORM).exists()
    Image.new("L", (16, 16), 255).save(samples[-1].mask_path)
    assert not ImageCache(folder, samples, TRANSFORM).exists()


def test_an_oblong_picture_that_was_turned_comes_back_with_its_defects(tmp_path, samples):
    sample = replace(samples[-1], reading=replace(samples[-1].reading, exif=True))
    orientation = Image.Exif()
    orientation[0x0112] = 2  # mirrored: the size stays
    Image.new("RGB", (24, 16), "red").save(sample.path, exif=orientation)
    Image.new("L", (24, 16), 255).save(sample.mask_path)
    cache = written(tmp_path / "cache", [sample])

    settings = {"batch_size": 1, "with_masks": True, "with_defects": True}
    (plain,) = make_loader([sample], TRANSFORM, **settings)
    (fast,) = make_loader([sample], TRANSFORM, cache=cache, **settings)

    assert equal(plain, fast)
    assert fast.contents[0].turned
    assert fast.defects[0][0].mask.shape == plain.defects[0][0].mask.shape == (16, 24)


def test_what_breaks_off_leaves_nothing(tmp_path, samples):
    cache = ImageCache(tmp_path / "cache", samples, TRANSFORM)
    samples[-1].path.write_bytes(b"")

    with pytest.raises(UserError, match="empty"):
        cache.write(make_loader(samples, TRANSFORM, batch_size=1, as_pixels=True))

    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_was_cut_short_is_not_used(tmp_path, samples):
    cache = written(tmp_path / "cache", samples)
    os.truncate(cache.path, cache.path.stat().st_size // 2)

    assert not ImageCache(tmp_path / "cache", samples, TRANSFORM).exists()


def test_a_cache_with_a_broken_header_is_not_used(tmp_path, samples):
    cache = written(tmp_path / "cache", samples)
    content = cache.path.read_bytes()
    content = cache.path.read_bytes()
    cache.path.write_bytes(content.replace(b"'shape': (16,)", b"'shape': (15,)"))

    assert not ImageCache(tmp_path / "cache", samples, TRANSFORM).exists()


def test_a_cache_that_was_found_can_be_read_when_another_copy_of_the_data_takes_its_place(tmp_path, samples):
    written(tmp_path / "cache", samples)
    cache = ImageCache(tmp_path / "cache", samples, TRANSFORM)
    assert cache.exists()
    written(tmp_path / "cache", write_dataset(tmp_path / "other", seed=1))
    assert not cache.path.exists()

    (batch,) = make_loader(samples, TRANSFORM, batch_size=len(samples), cache=cache)

    assert equal(batch, load_batch(samples, TRANSFORM))


def test_nothing_is_written_by_way_of_memory(tmp_path, samples, monkeypatch):
    """On a disk that fills up meanwhile, a memory map ends the process; a file tells."""
    monkeypatch.setattr(np, "memmap", lambda *_, **__: pytest.fail("mapped"))

    written(tmp_path / "cache", samples)


def test_a_later_process_reads_no_file_that_is_as_it_was(tmp_path, samples, monkeypatch):
    monkeypatch.setattr(fingerprint, "_TICK_NS", 0)
    written(tmp_path / "cache", samples)
    monkeypatch.setattr(fingerprint, "_KNOWN", {})
    read = []
    plain = fingerprint.content_sha256
    monkeypatch.setattr(fingerprint, "content_sha256", lambda path: read.append(path) or plain(path))

    assert ImageCache(tmp_path / "cache", samples, TRANSFORM).exists()
    assert read == []

    fingerprint._KNOWN.clear()
    samples[0].path.touch()
    assert ImageCache(tmp_path / "cache", samples, TRANSFORM).exists()
    assert read == [samples[0].path]


def test_hashes_of_files_changed_just_now_are_not_remembered(tmp_path, samples):
    cache = written(tmp_path / "cache", samples)

    assert json.loads(cache.path.with_name(f"{cache.path.stem.partition('-')[0]}.json").read_text()) == {}


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}', '{"a": [[1], 2, 3]}'])
def test_a_damaged_record_of_hashes_is_passed_over(tmp_path, samples, text):
    cache = written(tmp_path / "cache", samples)
    cache.path.with_name(f"{cache.path.stem.partition('-')[0]}.json").write_text(text)

    assert ImageCache(tmp_path / "cache", samples, TRANSFORM).exists()


def test_it_travels_without_its_content(tmp_path, samples):
    cache = written(tmp_path / "cache", samples)
    cache.item(samples[0], with_masks=True)

    assert len(pickle.dumps(cache)) < cache.n_bytes / 2
