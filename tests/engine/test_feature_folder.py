"""Evaluations that keep features: the same rows, and with other settings nothing is encoded again."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from adbench.engine import feature_folder
from adbench.engine.evaluate import evaluate
from adbench.engine.feature_folder import FeatureFolder
from adbench.engine.settings import EvalData, EvalSettings
from adbench.errors import UserError
from adbench.methods import build
from engine.test_image_caches import without_time
from engine.test_transductive import Ranked
from engine.tiny_engine import TinyMethod, Told, build_method, fake_clip, write_dataset
from tiny import make_tiny_clip

CPU = torch.device("cpu")


class Counting(TinyMethod):
    """Counts the images that it encodes; its head and `gain` have no part in that."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.encoded = 0

    def feature_settings(self):
        return {}

    def encode(self, batch):
        self.encoded += len(batch)
        return super().encode(batch)


def counting(**hyperparameters):
    torch.manual_seed(0)
    return Counting(fake_clip(), **hyperparameters)


@pytest.fixture
def data(tmp_path):
    return EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))


@pytest.fixture
def settings(tmp_path):
    return EvalSettings(batch_size=3, feature_cache=str(tmp_path / "features"))


def n_encoded(data, settings, method=None):
    method = method or counting()
    evaluate(method, data, settings, device=CPU)
    return method.encoded


def test_other_settings_of_a_method_read_what_the_first_evaluation_has_encoded(data, settings):
    reporter = Told()
    first = evaluate(counting(), data, settings, device=CPU, reporter=reporter)
    other = counting(gain=3.0)
    rows = evaluate(other, data, settings, device=CPU)

    plain = replace(settings, feature_cache=False)
    assert without_time(first) == without_time(evaluate(counting(), data, plain, device=CPU))
    assert without_time(rows) == without_time(evaluate(counting(gain=3.0), data, plain, device=CPU))
    assert other.encoded == 0
    (line,) = [line for line in reporter.lines if line.startswith("features")]
    assert "0 MB of features of 16 images are kept in" in line  # 3 x 8 x 8 numbers each


@pytest.mark.parametrize("divide_num", [1, 2])
def test_musc_sweeps_degrees_neighbours_and_subsets_over_one_encoding(tmp_path, monkeypatch, divide_num):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny", classes=("dots",), n_normal=6, n_anomalous=6))
    settings = EvalSettings(batch_size=5, feature_cache=str(tmp_path / "features"))
    clip = make_tiny_clip()
    first, second = {"r_list": [1], "k_list": [1]}, {"r_list": [3, 5], "k_list": [1, 2], "divide_num": divide_num}
    plain = evaluate(build("musc", clip, **second), data, replace(settings, feature_cache=False), device=CPU)

    evaluate(build("musc", clip, **first), data, settings, device=CPU)
    method = build("musc", clip, **second)
    monkeypatch.setattr(method, "encode", lambda batch: pytest.fail("encoded"))

    assert without_time(evaluate(method, data, settings, device=CPU)) == without_time(plain)


def test_a_method_that_relates_a_class_keeps_features_too(data, settings):
    plain = evaluate(Ranked(fake_clip()), data, replace(settings, feature_cache=False), device=CPU)
    torch.manual_seed(0)
    for _ in range(2):
        rows = evaluate(Ranked(fake_clip()), data, settings, device=CPU)
        assert [row["image_auroc"] for row in rows] == [row["image_auroc"] for row in plain]


def test_changed_images_and_everything_else_that_decides_are_encoded_anew(data, settings):
    assert n_encoded(data, settings) == 16
    (image,) = data.samples[4].files[:1]
    image.write_bytes(data.samples[5].files[0].read_bytes())
    assert n_encoded(data, settings) == 3  # the batch of that image
    assert n_encoded(data, replace(settings, batch_size=4)) == 16
    other = counting()
    other.feature_settings = lambda: {"layers": [2]}
    assert n_encoded(data, settings, other) == 16
    other = counting()
    other._clip = (fake_clip("other"),)
    assert n_encoded(data, settings, other) == 16
    assert n_encoded(data, settings) == 0


def test_a_damaged_file_is_encoded_again(data, settings, tmp_path):
    evaluate(counting(), data, settings, device=CPU)
    file = sorted(tmp_path.glob("features/*/*.safetensors"))[0]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)

    assert 1 <= n_encoded(data, settings) <= 3
    assert n_encoded(data, settings) == 0


def test_the_folder_stays_within_its_size_and_loses_what_was_used_longest_ago(data, settings, tmp_path):
    bounded = replace(settings, feature_cache_mib=1)
    theirs = tmp_path / "features" / "weights" / f"{'a' * 24}.safetensors"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(bytes(2 << 20))
    assert n_encoded(data, bounded) == 16
    files = sorted(tmp_path.glob("features/tiny-*/*.safetensors"))
    with files[1].open("ab") as stream:
        stream.write(bytes((1 << 20) - sum(file.stat().st_size for file in files)))
    for used, file in enumerate([files[1], *files[2:], files[0]]):
        os.utime(file, (used, used))

    n_encoded(data, replace(bounded, batch_size=16))

    left = set(tmp_path.glob("features/tiny-*/*.safetensors"))
    assert files[0] in left
    assert files[1] not in left
    assert theirs.is_file()


def test_too_many_features_are_refused_before_the_second_batch(data, settings, monkeypatch):
    monkeypatch.setattr(Counting, "encode", lambda self, batch: {"patches": torch.zeros(len(batch), 3, 300, 300)})
    with pytest.raises(UserError, match=r"17 MB of features of 16 images are more than allowed") as refused:
        evaluate(counting(), data, replace(settings, feature_cache_mib=16), device=CPU)
    assert refused.value.where == "eval.feature_cache_mib=16"

    monkeypatch.setattr(feature_folder.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    with pytest.raises(UserError, match="1 MB are free"):
        evaluate(counting(), data, settings, device=CPU)


def test_a_folder_that_cannot_be_made_is_named(data, settings, tmp_path):
    (tmp_path / "features").write_text("a file")
    with pytest.raises(UserError, match="the features cannot be written") as refused:
        evaluate(build_method(), data, settings, device=CPU)
    assert refused.value.where == str(tmp_path / "features")


def test_the_folder_is_not_looked_through_for_every_image(tmp_path, monkeypatch):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))
    looks, files = [], FeatureFolder._files
    monkeypatch.setattr(FeatureFolder, "_files", lambda folder: looks.append(1) or files(folder))

    evaluate(build_method(), data, EvalSettings(batch_size=1, feature_cache=str(tmp_path / "f")), device=CPU)

    assert len(list((tmp_path / "f").glob("*/*.safetensors"))) == len(data.samples)
    assert len(looks) == 2  # whether there is room for all, and what else is there


def test_a_full_folder_is_not_looked_through_for_every_image_either(tmp_path, monkeypatch):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))
    other = tmp_path / "f" / "other"
    other.mkdir(parents=True)
    (other / "cache.json").write_text("{}")
    kept = [other / f"{number:024x}.safetensors" for number in range(1024)]
    for number, file in enumerate(kept):
        file.write_bytes(bytes(1024))
        os.utime(file, (number, number))
    used, looks, files = kept[1], [], FeatureFolder._files
    monkeypatch.setattr(FeatureFolder, "_files", lambda folder: looks.append(1) or files(folder))
    make_room = FeatureFolder._make_room
    monkeypatch.setattr(FeatureFolder, "_make_room", lambda *given: (make_room(*given), used.touch()))

    settings = EvalSettings(batch_size=1, feature_cache=str(tmp_path / "f"), feature_cache_mib=1)
    evaluate(build_method(), data, settings, device=CPU)

    assert len(looks) == 2
    assert len(list((tmp_path / "f").glob("tiny-*/*.safetensors"))) == len(data.samples)
    assert sum(file.stat().st_size for file in (tmp_path / "f").glob("*/*.safetensors")) < (1 << 20) + 16 * 1024
    assert not kept[0].exists()
    assert used.exists()
    assert kept[-1].exists()
