"""What kept features depend on, and how much room they may take."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import torch

from adbench.data.transforms import ClipTransform
from adbench.engine import feature_cache, feature_facts
from adbench.engine.settings import TrainSettings
from engine.tiny_engine import MEAN, SIDE, STD, TinyMethod, fake_clip, write_dataset


def test_every_fact_that_features_depend_on_makes_another_folder(tmp_path, monkeypatch):
    written, settings = write_dataset(tmp_path / "data", n_normal=1, n_anomalous=1), TrainSettings()

    def name(method=None, samples=written, settings=settings, device="cpu"):
        facts = feature_facts.feature_facts(method or TinyMethod(fake_clip()), samples, settings, torch.device(device))
        return feature_facts.facts_hash(facts)

    one = name()
    assert one == name()
    large = TinyMethod(fake_clip())
    large.transform = ClipTransform(2 * SIDE, MEAN, STD)
    other_clip = TinyMethod(fake_clip("other"))
    others = [
        name(TinyMethod(fake_clip(), gain=2.0)),
        name(large),
        name(other_clip),
        name(TinyMethod(fake_clip(compile=True))),
        name(samples=written[1:]),
        name(device="cuda"),
    ]
    others += [name(samples=written[::-1]), name(settings=replace(settings, amp="bf16"))]
    monkeypatch.setattr(feature_facts, "BLOCK", 2 * feature_facts.BLOCK)
    others.append(name())
    monkeypatch.undo()
    monkeypatch.setattr(feature_facts, "VERSION", feature_facts.VERSION + 1)
    others.append(name())
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "0.0")
    others.append(name())
    assert len({one, *others}) == 1 + len(others)


def test_the_room_on_disk_is_what_is_allowed_or_what_is_free(tmp_path, monkeypatch):
    disk = feature_cache._Disk(tmp_path / "c", {})
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=5 << 20))
    assert [disk.room(limit)[0] >> 20 for limit in (3, 5, 9, None)] == [3, 5, 5, 5]
    assert "free on the disk" in disk.room(9)[1]
    assert "trainer.cache_mib=3" in disk.room(3)[1]
