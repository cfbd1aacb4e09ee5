"""Evaluations that keep decoded images: the same rows, and the second one decodes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adbench.data import items
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.engine import image_caches
from adbench.engine.evaluate import evaluate
from adbench.engine.settings import EvalData, EvalSettings, TrainSettings
from adbench.engine.train_batches import TrainBatches
from adbench.errors import UserError
from engine.tiny_engine import MEAN, SIDE, STD, Told, build_method, write_dataset
from simulated_gpu import GPU, simulated_gpu

CPU = torch.device("cpu")


def without_time(rows):
    return [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")} for row in rows]


def test_rows_are_the_same_and_nothing_is_decoded_twice(tmp_path, monkeypatch):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))
    settings = EvalSettings(batch_size=3, image_cache=str(tmp_path / "images"))
    plain = evaluate(build_method(), data, replace(settings, image_cache=False), device=CPU)
    reporter = Told()

    first = evaluate(build_method(), data, settings, device=CPU, reporter=reporter)
    monkeypatch.setattr(items, "open_picture", lambda sample: pytest.fail("decoded"))
    second = evaluate(build_method(), data, settings, device=CPU, reporter=reporter)

    assert without_time(plain) == without_time(first) == without_time(second)
    (line,) = [line for line in reporter.lines if line.startswith("images")]
    assert f"{len(data.samples)} images of {len(data.classes)} classes take" in line


def plugin_method(sha256, brightness):
    """A method of a plug-in file whose transform does otherwise after each edit, and describes itself as before."""

    class Brighter(ClipTransform):
        def pixels(self, image):
            return super().pixels(image) // brightness

    method = build_method()
    method.transform, method.plugin = Brighter(SIDE, MEAN, STD), {"place": "mine.py", "sha256": sha256}
    return method


def test_an_edited_plug_in_never_meets_the_pixels_of_its_earlier_self(tmp_path):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))
    settings = EvalSettings(image_cache=str(tmp_path / "images"))
    evaluate(plugin_method("a" * 64, 1), data, settings, device=CPU)

    edited = evaluate(plugin_method("b" * 64, 2), data, settings, device=CPU)

    plain = evaluate(plugin_method("b" * 64, 2), data, replace(settings, image_cache=False), device=CPU)
    assert without_time(edited) == without_time(plain)
    assert len(list((tmp_path / "images").glob("*.npy"))) == len(data.classes)  # those of the earlier self are gone


def test_what_a_killed_writer_left_makes_room(tmp_path):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))
    for name in ("images", "features"):
        evaluate(build_method(), data, EvalSettings(**{f"{name[:-1]}_cache": str(tmp_path / name)}), device=CPU)
        first, *_ = [file for file in sorted((tmp_path / name).rglob("*")) if file.suffix in (".npy", ".safetensors")]
        left = first.rename(first.with_name(".adbench.0123456789abcdef.tmp"))
        evaluate(build_method(), data, EvalSettings(**{f"{name[:-1]}_cache": str(tmp_path / name)}), device=CPU)
        assert first.exists()
        assert not left.exists()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))
    monkeypatch.setattr(image_caches.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))

    settings = EvalSettings(image_cache=str(tmp_path / "images"))

    with pytest.raises(UserError, match="are free"):
        evaluate(build_method(), data, settings, device=CPU)

    assert not list((tmp_path / "images").iterdir())


def training_batches(settings, samples, reporter, method=None, epochs=2, device=CPU):
    feed = TrainBatches(method or build_method(), samples, settings, device=device, reporter=reporter)
    return [batch for epoch in range(epochs) for _, batch, _ in feed.epoch(epoch)]


def in_context():
    method = build_method()
    method.in_context = True
    return method


@pytest.mark.parametrize(("make", "shots"), [(build_method, 0), (in_context, 2)])
def test_training_reads_the_files_of_an_evaluation_to_the_same_bits(tmp_path, monkeypatch, make, shots):
    samples, reporter, folder = write_dataset(tmp_path / "tiny"), Told(), str(tmp_path / "images")
    settings = TrainSettings(batch_size=3, shots=shots, cache="off", workers=0)
    plain = training_batches(settings, samples, reporter, make())
    data = EvalData(name="tiny", samples=samples)
    evaluate(build_method(), data, EvalSettings(image_cache=folder), device=CPU)

    monkeypatch.setattr(items, "open_picture", lambda sample: pytest.fail("decoded"))
    kept = training_batches(replace(settings, image_cache=folder), samples, reporter, make())

    assert len(plain) == len(kept)
    for one, other in zip(plain, kept, strict=True):
        assert one.paths == other.paths
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.masks, other.masks)
        assert torch.equal(one.labels, other.labels)
        assert (one.support is None) == (shots == 0)
        assert one.support is None or torch.equal(one.support.images, other.support.images)


def test_training_on_a_gpu_reads_them_as_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(Batch, "pin_memory", lambda batch: batch)  # the driver's
    samples, reporter = write_dataset(tmp_path / "tiny"), Told()
    settings = TrainSettings(batch_size=3, shots=2, cache="off", workers=0, image_cache=str(tmp_path / "images"))
    plain = training_batches(settings, samples, reporter, in_context(), epochs=1)
    with simulated_gpu():
        there = training_batches(settings, samples, reporter, in_context(), epochs=1, device=GPU)
        for one, other in zip(plain, there, strict=True):
            assert torch.equal(one.images, other.images.cpu())
            assert torch.equal(one.support.images, other.support.images.cpu())


def test_training_writes_the_files_once(tmp_path, monkeypatch):
    samples, reporter = write_dataset(tmp_path / "tiny"), Told()
    settings = TrainSettings(cache="off", workers=0, image_cache=str(tmp_path / "images"))
    training_batches(settings, samples, reporter)
    monkeypatch.setattr(items, "open_picture", lambda sample: pytest.fail("decoded"))
    training_batches(settings, samples, reporter)
    assert [line.startswith(f"images       {len(samples)} images of 2 classes take") for line in reporter.lines] == [
        True
    ]


def test_training_images_that_change_are_not_kept_and_it_is_said(tmp_path):
    samples, reporter = write_dataset(tmp_path / "tiny"), Told()
    settings = TrainSettings(cache="off", workers=0, image_cache=str(tmp_path / "images"), mosaic={"tiny": 0.5})
    training_batches(settings, samples, reporter)
    (line,) = reporter.lines
    assert line.endswith(": mosaics change them between epochs")
    assert "trainer.image_cache=" in line
    assert not (tmp_path / "images").exists()
