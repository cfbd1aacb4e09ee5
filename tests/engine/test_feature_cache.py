"""Frozen features kept between epochs: the same training, in memory or on disk, and never a stale or half file."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from adbench.data.transforms import ClipTransform
from adbench.engine import feature_cache
from adbench.engine.progress import Quiet
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.engine.train_batches import TrainBatches
from adbench.engine.train_logger import read_history
from adbench.errors import UserError
from adbench.methods import build, method_class
from engine.tiny_engine import MEAN, SIDE, STD, TinyMethod, fake_clip, write_dataset
from simulated_gpu import made_up_gradients, simulated_gpu, waits
from small_methods import TRAINED, small_settings
from tiny import make_tiny_clip

CPU = torch.device("cpu")


class FeaturesOnly(TinyMethod):
    """A method that learns from its features; counts the images that it encodes."""

    features_suffice = True

    def __init__(self, clip, *, gain=1.0, noise=0.0):
        super().__init__(clip, gain=gain, noise=noise)
        self.n_encoded = 0

    def encode(self, batch):
        assert not torch.is_grad_enabled()
        self.n_encoded += len(batch)
        return super().encode(batch)


class BesideImages(FeaturesOnly):
    """A method that learns from its features and from the images."""

    features_suffice, keeps_features = False, True

    def loss(self, features, batch):
        assert batch.images.shape[1:] == (3, SIDE, SIDE)
        return super().loss(features, batch)


class Notes(Quiet):
    """Keeps what a run says, and can stop it in the middle of an epoch."""

    def __init__(self, stop_after=None):
        self.said, self.left = [], stop_after

    def say(self, text):
        self.said.append(text)

    def track(self, label, total, *, done=0, closing=True):
        notes = self

        class Track:
            def __enter__(self):
                return self.advance

            def __exit__(self, *_):
                return False

            def advance(self, *_):
                if label.startswith("epoch") and notes.left is not None:
                    notes.left -= 1
                    if notes.left == 0:
                        raise KeyboardInterrupt

        return Track()


@pytest.fixture
def samples(tmp_path):
    return write_dataset(tmp_path / "data", n_normal=5, n_anomalous=4)  # 18 images: 3 blocks, the last of 2


@pytest.fixture
def settings(tmp_path):
    return TrainSettings(
        epochs=3, batch_size=4, optimizer=OptimizerSpec(lr=0.1), log_every=1, cache_dir=str(tmp_path / "cache")
    )


def method_of(cls=FeaturesOnly, **hyperparameters):
    torch.manual_seed(0)
    return cls(fake_clip(), **hyperparameters)


def run_training(folder, samples, settings, method=None, notes=None):
    """Weights, losses and the method of a training in `folder`."""
    method = method or method_of()
    run = RunFolder.create("train", "tiny", "tiny", out=folder)
    data = [TrainData(name="tiny", samples=samples)]
    train(method, data, settings, run, device=CPU, reporter=notes or Notes())
    losses = [point["loss"] for point in read_history(run.history_path) if point["kind"] == "step"]
    return run.weights_path.read_bytes(), losses, method


def folders(settings):
    return sorted(path.name for path in feature_cache.Path(settings.cache_dir).glob("*"))


@pytest.mark.parametrize("cache", ["auto", "ram", "disk"])
def test_a_cached_training_is_the_same_training(tmp_path, samples, settings, cache):
    # Each image's features here do not depend on its neighbours in the batch, so the bits must be equal.
    plain = run_training(tmp_path / "plain", samples, replace(settings, cache="off"))
    kept = run_training(tmp_path / "kept", samples, replace(settings, cache=cache))
    assert kept[1] == plain[1]
    assert plain[2].n_encoded == 3 * 18
    assert kept[2].n_encoded == 18
    assert folders(settings) == ([] if cache != "disk" else [folders(settings)[0]])


@pytest.mark.parametrize("cache", ["auto", "disk"])
def test_features_are_kept_beside_images_that_are_loaded_anew(tmp_path, samples, settings, cache):
    settings = replace(settings, mosaic={"another": 0.5})
    plain = run_training(tmp_path / "plain", samples, replace(settings, cache="off"), method_of(BesideImages))
    kept = run_training(tmp_path / "kept", samples, replace(settings, cache=cache), method_of(BesideImages))
    assert kept[:2] == plain[:2]
    assert (plain[2].n_encoded, kept[2].n_encoded) == (3 * 18, 18)
    mosaics = replace(settings, mosaic={"tiny": 0.2}, batch_size=2)
    plain = run_training(tmp_path / "pasted", samples, replace(mosaics, cache="off"), method_of(BesideImages))
    partly = run_training(tmp_path / "partly", samples, replace(mosaics, cache=cache), method_of(BesideImages))
    assert partly[:2] == plain[:2] != kept[:2]
    assert 18 < partly[2].n_encoded < 3 * 18  # every image once, and batches with mosaics again
    notes = Notes()
    part = replace(settings, cache="ram", steps_per_epoch=1)
    run_training(tmp_path / "part", samples, part, method_of(BesideImages), notes=notes)
    assert any("an epoch is a part of the images" in line for line in notes.said)


@pytest.mark.parametrize("name", [name for name in TRAINED if not method_class(name).in_context])
def test_clip_features_are_the_same_to_rounding(tmp_path, name):
    samples = write_dataset(tmp_path / "data", n_normal=3, n_anomalous=3)
    adam = OptimizerSpec(name="adam", lr=1e-3, betas=(0.5, 0.999))
    settings = TrainSettings(epochs=2, batch_size=5, optimizer=adam, log_every=1, cache_dir=str(tmp_path / "cache"))
    losses = {}
    for cache in ("off", "ram", "disk"):
        torch.manual_seed(0)
        method = build(name, make_tiny_clip(), **small_settings(name, dropout=0.5))
        weights, losses[cache], _ = run_training(tmp_path / cache, samples, replace(settings, cache=cache), method)
        losses[cache].append(weights)
    assert losses["ram"] == losses["disk"]
    np.testing.assert_allclose(losses["ram"][:-1], losses["off"][:-1], rtol=1e-4)


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path, samples, settings, cache):
    settings = replace(settings, cache=cache, checkpoint_steps=2)
    whole = run_training(tmp_path / "whole", samples, replace(settings, cache="ram"))
    with pytest.raises(KeyboardInterrupt):
        run_training(tmp_path / "torn", samples, settings, notes=Notes(stop_after=7))
    torn = run_training(tmp_path / "torn", samples, settings)
    assert torn[0] == whole[0]
    assert torn[1] == whole[1]


def test_a_later_training_reads_what_an_earlier_one_kept_whatever_its_batch_size(tmp_path, samples, settings):
    settings = replace(settings, cache="disk")
    run_training(tmp_path / "first", samples, settings)
    notes = Notes()
    other = replace(settings, batch_size=7, optimizer=OptimizerSpec(lr=0.01))
    _, losses, method = run_training(tmp_path / "second", samples, other, notes=notes)
    assert method.n_encoded == 0
    assert any("all 18 are in" in line for line in notes.said)
    assert len(folders(settings)) == 1
    fresh = run_training(tmp_path / "third", samples, replace(other, cache="off"))
    assert losses == fresh[1]


def edit_pixel(path):
    """Change a file's contents, not its size and times."""
    before, old = path.stat(), path.read_bytes()
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes().ljust(len(old), b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class OtherSettings(FeaturesOnly):
    def feature_settings(self):
        return {"gain": "does not matter"}


CHANGES = {
    "image": lambda s, m: edit_pixel(s[3].path),
    "mask": lambda s, m: edit_pixel(s[-1].mask_path),
    "fewer images": lambda s, m: s.pop(),
    "order": lambda s, m: s.reverse(),
    "hyperparameter": lambda s, m: setattr(m, "gain", 2.0),
    "transform": lambda s, m: setattr(m, "transform", ClipTransform(SIDE, MEAN, STD, resize="short_side")),
    "backbone": lambda s, m: setattr(
        m, "_clip", (SimpleNamespace(describe=lambda: {"name": "fake", "weights_sha256": "1" * 64}),)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_the_features_makes_another_cache(tmp_path, samples, settings, change):
    settings = replace(settings, cache="disk", epochs=1)
    run_training(tmp_path / "first", samples, settings)
    method = method_of()
    CHANGES[change](samples, method)
    run_training(tmp_path / "second", samples, settings, method)
    assert method.n_encoded == len(samples)
    assert len(folders(settings)) == 2


def test_a_method_says_which_of_its_settings_decide_the_features(tmp_path, samples, settings):
    settings = replace(settings, cache="disk", epochs=1)
    run_training(tmp_path / "first", samples, settings, method_of(OtherSettings))
    other = method_of(OtherSettings, gain=3.0)
    run_training(tmp_path / "second", samples, settings, other)
    assert other.n_encoded == 0


def test_data_that_moved_are_recognised(tmp_path, samples, settings):
    settings = replace(settings, cache="disk", epochs=1)
    run_training(tmp_path / "first", samples, settings)
    shutil.copytree(tmp_path / "data", tmp_path / "elsewhere")
    moved = write_dataset(tmp_path / "elsewhere", n_normal=5, n_anomalous=4)
    _, _, method = run_training(tmp_path / "second", moved, settings)
    assert method.n_encoded == 0


def test_a_write_that_dies_leaves_nothing_half_and_the_next_training_completes_it(
    tmp_path, samples, settings, monkeypatch
):
    settings = replace(settings, cache="disk")
    original = feature_cache.write_rows

    def dying(path, tensors):
        if path.name == "000001.safetensors":
            from adbench.atomic import replacing

            with replacing(path) as temporary:
                temporary.write_bytes(b"half")
                raise KeyboardInterrupt
        original(path, tensors)

    monkeypatch.setattr(feature_cache, "write_rows", dying)
    with pytest.raises(KeyboardInterrupt):
        run_training(tmp_path / "run", samples, settings)
    (folder,) = feature_cache.Path(settings.cache_dir).iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["000000.safetensors", "cache.json"]
    monkeypatch.undo()
    weights, _, method = run_training(tmp_path / "run", samples, settings)
    assert method.n_encoded == 10
    assert weights == run_training(tmp_path / "whole", samples, replace(settings, cache="ram"))[0]


@pytest.mark.parametrize("damage", [lambda whole: whole[:300], lambda whole: whole[:-90] + b"?" + whole[-89:]])
def test_a_damaged_file_is_encoded_again(tmp_path, samples, settings, damage):
    settings = replace(settings, cache="disk")
    expected = run_training(tmp_path / "first", samples, settings)[0]
    (folder,) = feature_cache.Path(settings.cache_dir).iterdir()
    file = folder / "000001.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    weights, _, method = run_training(tmp_path / "second", samples, settings)
    assert weights == expected
    assert method.n_encoded == 8


def test_the_size_is_said_before_anything_is_written(tmp_path, samples, settings):
    notes = Notes()
    run_training(tmp_path / "run", samples, replace(settings, cache="disk"), notes=notes)
    line = next(line for line in notes.said if "kept in" in line)
    per_image = 3 * 8 * 8 * 4 + 16 * 16 // 8  # float32 features and packed mask
    assert f"{18 * per_image / 1e6:.1f} MB for 18 images" in line


@pytest.mark.parametrize(
    ("cache", "limit", "free", "message"),
    [
        ("ram", 0, 1 << 40, r"features of 18 images take 0.0 MB, more than trainer.cache_mib=0 allows.*cache=ram"),
        ("disk", 0, 1 << 40, r"more than trainer.cache_mib=0 allows.*cache=disk"),
        ("disk", None, 1000, r"more than the 0.0 MB free on the disk of .*trainer.cache_dir"),
    ],
)
def test_a_cache_without_room_is_refused_before_anything_is_written(
    tmp_path, samples, settings, monkeypatch, cache, limit, free, message
):
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(UserError, match=message):
        run_training(tmp_path / "run", samples, replace(settings, cache=cache, cache_mib=limit))
    assert not list(feature_cache.Path(settings.cache_dir).rglob("*.safetensors"))


def test_auto_does_without_where_there_is_no_room(tmp_path, samples, settings):
    notes = Notes()
    _, _, method = run_training(tmp_path / "run", samples, replace(settings, cache_mib=0), notes=notes)
    assert method.n_encoded == 8 + 3 * 18
    assert any("not kept" in line and "trainer.cache=disk keeps them" in line for line in notes.said)


@pytest.mark.parametrize(
    ("cls", "mosaic", "reason"),
    [(TinyMethod, {}, "method tiny learns from the images"), (FeaturesOnly, {"tiny": 0.5}, "mosaics change")],
)
def test_nothing_is_kept_where_images_change_or_are_needed(tmp_path, samples, settings, cls, mosaic, reason):
    notes = Notes()
    settings = replace(settings, cache="ram", mosaic=mosaic)
    run_training(tmp_path / "run", samples, settings, method_of(cls), notes)
    assert any(reason in line for line in notes.said)


def test_one_epoch_has_nothing_to_gain(tmp_path, samples, settings):
    notes = Notes()
    run_training(tmp_path / "run", samples, replace(settings, epochs=1), notes=notes)
    assert not any("kept" in line for line in notes.said)


def test_data_without_masks(tmp_path, settings):
    samples = write_dataset(tmp_path / "data", masks=False)
    method = build("anomalyclip", make_tiny_clip(), deep_depth=2, dpam_layer=3)
    cache = feature_cache.FeatureCache(method, samples, replace(settings, cache="disk"), device=CPU, reporter=Quiet())
    features, masks = cache.rows([3, 11])
    assert masks is None
    assert features["patches"].shape == (2, 1, 16, 32)


def test_kept_features_travel_to_a_gpu_while_the_host_goes_on(tmp_path):
    samples = write_dataset(tmp_path)
    settings = TrainSettings(epochs=2, batch_size=3, cache="ram", workers=0)

    def second_epoch(device):
        torch.manual_seed(0)
        feed = TrainBatches(FeaturesOnly(fake_clip()).to(device), samples, settings, device=device, reporter=Quiet())
        list(feed.epoch(0))
        waits.clear()
        return [(batch, features) for _, batch, features in feed.epoch(1)]

    here = second_epoch(CPU)
    with simulated_gpu() as gpu:
        there = second_epoch(gpu)
        assert waits == []
        for (batch, features), (expected, expected_features) in zip(there, here, strict=True):
            assert (batch.labels.device, batch.masks.device) == (gpu, gpu)
            assert torch.equal(batch.labels.cpu(), expected.labels)
            assert torch.equal(batch.masks.cpu(), expected.masks)
            for name, values in expected_features.items():
                assert torch.equal(features[name].cpu(), values)


@pytest.mark.parametrize("amp", ["off", "bf16"])
@pytest.mark.parametrize("cache", ["off", "ram", "disk"])
def test_a_training_on_a_gpu_mixes_no_devices(tmp_path, samples, settings, cache, amp):
    """From checkpoint to weights, validation too; gradients are made up."""
    run = RunFolder.create("train", "tiny", "tiny", out=tmp_path / "run")
    settings = replace(settings, cache=cache, amp=amp, workers=0, checkpoint_steps=2)

    def trained(stop_after):
        method = FeaturesOnly(fake_clip())
        with simulated_gpu() as gpu, made_up_gradients(method):
            data, validation = [TrainData(name="tiny", samples=samples)], [EvalData(name="tiny", samples=samples[:4])]
            notes = Notes(stop_after)
            return train(method, data, settings, run, device=gpu, validation=validation, reporter=notes)

    with pytest.raises(KeyboardInterrupt):
        trained(7)
    assert run.checkpoint_path.exists()
    assert trained(None).steps == 15 - 6  # the checkpoint before
