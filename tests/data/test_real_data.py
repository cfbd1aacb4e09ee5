"""Real data sets, where they are present: numbers, masks, and what ends up in a batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import adbench
from adbench.data.images import open_image, open_mask
from adbench.data.loading import make_loader
from adbench.data.sample import Sample
from adbench.data.transforms import ClipTransform


def opened(name: str, shared_data: Path, **settings: object) -> list[Sample]:
    if not (shared_data / name).is_dir():
        pytest.skip(f"no {name} in {shared_data}")
    return adbench.open_dataset(name, data_dir=shared_data, **settings).samples


def counts(samples: list[Sample]) -> dict[tuple[str, int], int]:
    return dict(Counter((sample.split, sample.label) for sample in samples))


def test_mvtec_transistor(shared_data: Path) -> None:
    samples = opened("mvtec", shared_data, classes=["transistor"])
    assert counts(samples) == {("train", 0): 48, ("test", 0): 24, ("test", 1): 40}
    assert Counter(sample.defect for sample in samples if sample.label) == dict.fromkeys(
        ("bent_lead", "cut_lead", "damaged_case", "misplaced"), 10
    )
    anomalous = [sample for sample in samples if sample.label]
    for sample in anomalous:
        assert sample.mask_path is not None
        assert sample.mask_path.name == f"{sample.path.stem}_mask.png"
        mask = open_mask(sample, open_image(sample.path).size)
        assert 0 < np.asarray(mask).mean() < 128
    transform = ClipTransform(56, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    for batch in make_loader(anomalous, transform, batch_size=20, workers=2):
        assert batch.masks is not None
        assert batch.masks.flatten(1).any(1).all()


def test_mvtec_transistor_as_any_folder(shared_data: Path) -> None:
    expected = opened("mvtec", shared_data)
    samples = adbench.open_dataset("folder", root=shared_data / "mvtec" / "transistor").samples
    assert counts(samples) == counts(expected)
    assert {s.path: s.mask_path for s in samples} == {s.path: s.mask_path for s in expected}


def test_piped(shared_data: Path) -> None:
    samples = opened("piped", shared_data)
    for name in ("PA_BDP01_TL", "PA_BRG02_RL", "PA_GLA01_TL"):
        own = [sample for sample in samples if sample.class_name == name]
        assert counts(own) == {("train", 0): 24, ("test", 0): 24, ("test", 1): 48}
    shares = [np.asarray(open_mask(sample, (128, 128))).mean() / 255 for sample in samples if sample.label]
    assert 0 < min(shares) <= max(shares) < 0.5  # inverted: the background is white in the files


def test_piped_mini_is_a_byte_for_byte_part(shared_data: Path) -> None:
    whole = {sample.key: sample for sample in opened("piped", shared_data)}
    for sample in adbench.open_dataset("piped_mini").samples:
        origin = whole[sample.key]
        assert sample.path.read_bytes() == origin.path.read_bytes()
        assert sample.label == origin.label
        if sample.mask_path is not None:
            assert origin.mask_path is not None
            assert sample.mask_path.read_bytes() == origin.mask_path.read_bytes()


def test_elpv(shared_data: Path) -> None:
    samples = opened("elpv", shared_data)
    assert counts(samples) == {("train", 0): 111, ("test", 0): 37, ("test", 1): 79}
    uncertain = opened("elpv", shared_data, uncertain="anomaly")
    assert counts(uncertain)["test", 1] == 79 + 25 + 11
    batch = next(iter(make_loader(samples, ClipTransform(28, (0.5,) * 3, (0.5,) * 3), batch_size=4)))
    assert batch.masks is None
