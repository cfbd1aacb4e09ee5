"""A few small pictures to run a method on: made from a seed, read from disk as any data set's are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.sample import Sample

CLASSES = ("metal nut", "carpet")
N_TEST, N_SUPPORT = 6, 2
"""Images of a class: to be scored or trained on, every second one anomalous; and normal ones beside them."""
_SIZE = (64, 80)


def write_pictures(folder: Path) -> tuple[list[Sample], dict[str, list[Sample]]]:
    """Pictures with masks: those to be scored or trained on, and by class the normal ones of its support."""
    tested: list[Sample] = []
    support: dict[str, list[Sample]] = {}
    for number, name in enumerate(CLASSES):
        for index in range(N_TEST + N_SUPPORT):
            is_support = index >= N_TEST
            defect = index % 2 == 1 and not is_support
            sample = _picture(folder, name, index, [number, index], defect=defect)
            (support.setdefault(name, []) if is_support else tested).append(sample)
    return tested, support


def _picture(folder: Path, name: str, index: int, seed: Sequence[int], *, defect: bool) -> Sample:
    random = np.random.default_rng([*seed, 17])
    values = _texture(random, base=90 + 80 * seed[0])
    mask = np.zeros(_SIZE, bool)
    if defect:
        top, left = random.integers(4, 36), random.integers(4, 48)
        mask[top : top + 20, left : left + 24] = True
        values[mask] = 255 - values[mask]
    path = folder / f"{name} {index}.png"
    Image.fromarray(values).save(path)
    mask_path = path.with_suffix(".mask.png") if defect else None
    if mask_path is not None:
        Image.fromarray(mask.astype(np.uint8) * 255).save(mask_path)
    return Sample(
        path=path,
        key=path.name,
        class_name=name,
        label=int(defect),
        mask_path=mask_path,
        split="test",
        defect="inverted" if defect else "good",
        dataset="contract",
    )


def write_scenes(folder: Path, n_classes: int) -> tuple[list[Sample], list[Sample]]:
    """Road scenes of one class "road": with maps of anomalies to be scored, and with train ids to be trained on."""
    tested: list[Sample] = []
    trained: list[Sample] = []
    for index in range(4):
        random = np.random.default_rng([index, 18])
        ids = np.repeat(np.arange(_SIZE[1]) // 16 % n_classes, _SIZE[0]).reshape(_SIZE[::-1]).T.astype(np.uint8)
        values = (_texture(random, base=60) // 2 + 20 * ids[..., None]).astype(np.uint8)
        anomalies = np.zeros(_SIZE, np.uint8)
        anomalies[40:56, 20:40] = 1
        for kind, stored, samples in (("train", ids, trained), ("test", anomalies, tested)):
            stored[:, -4:] = 255
            path = folder / f"{kind} {index}.png"
            Image.fromarray(values).save(path)
            Image.fromarray(stored).save(path.with_suffix(".labels.png"))
            samples.append(_scene(path, kind, sorted({int(value) for value in np.unique(stored)})))
    return tested, trained


def _scene(path: Path, kind: str, ids: Sequence[int]) -> Sample:
    return Sample(
        path=path,
        key=path.name,
        class_name="road",
        label=-1,
        mask_path=path.with_suffix(".labels.png"),
        split=kind,
        defect="road",
        dataset="contract",
        label_ids={value: value for value in ids},
    )


def _texture(random: np.random.Generator, *, base: int) -> NDArray[np.uint8]:
    """Noise in blocks of eight pixels and in single ones, (H, W, 3)."""
    coarse = random.normal(0, 18, (_SIZE[0] // 8, _SIZE[1] // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return (base + coarse + random.normal(0, 6, (*_SIZE, 3))).clip(0, 255).astype(np.uint8)
