"""Evaluations that keep decoded images: the same rows, and the second one decodes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adbench.data import items
from adbench.data.transforms import ClipTransform
from adbench.engine import image_caches
from adbench.engine.evaluate import evaluate
from adbench.engine.settings import EvalData, EvalSettings
from adbench.errors import UserError
from engine.tiny_engine import MEAN, SIDE, STD, build_method, write_dataset

CPU = torch.device("cpu")


class Lines:
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def track(self, label, total, **_):
        from adbench.engine.progress import Quiet

        return Quiet().track(label, total)


def without_time(rows):
    return [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")} for row in rows]


def test_rows_are_the_same_and_nothing_is_decoded_twice(tmp_path, monkeypatch):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))
    settings = EvalSettings(batch_size=3, image_cache=str(tmp_path / "images"))
    plain = evaluate(build_method(), data, replace(settings, image_cache=False), device=CPU)
    reporter = Lines()

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


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))
    monkeypatch.setattr(image_caches.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))

    settings = EvalSettings(image_cache=str(tmp_path / "images"))

    with pytest.raises(UserError, match="are free"):
        evaluate(build_method(), data, settings, device=CPU)

    assert not list((tmp_path / "images").iterdir())
