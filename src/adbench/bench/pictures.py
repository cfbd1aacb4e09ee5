"""Made pictures with their annotation, on disk, so that decoding and masks take the time that they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from adbench.data.sample import Sample

DATA = {"segmentation": ("cityscapes", "road", 19), "anomaly": ("mvtec", "bottle", 0), "none": ("mvtec", "bottle", 0)}
"""By what a method learns from: the data set and class whose words its prompts have, and the number of its classes."""
ROAD_IDS = {0: 0, 1: 1, 255: 255}


def make_pictures(folder: Path, n: int, *, side: int, supervision: str, split: str) -> list[Sample]:
    """`n` pictures of smooth noise, `side` px high: square, or road scenes of twice the width. Those there are stay.

    In the split "test" every second one is anomalous, with a mask or label map; "train" holds normal pictures or, of
    road scenes, label maps of all classes; "auxiliary" is "test" for training: as that, or as "train" of road scenes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dataset, class_name, n_classes = DATA[supervision]
    size = (side, 2 * side) if n_classes else (side, side)
    samples = []
    for number in range(n):
        path, key = folder / f"{split}_{number:03d}.png", f"{class_name}/{split}/{number:03d}.png"
        if not path.exists():
            _noise(size, number).save(path, compress_level=1)
        anomalous = split != "train" and number % 2 == 1
        mask, ids = _square(size) if anomalous else None, None
        if n_classes and split == "test":
            mask, ids = (_square(size) if anomalous else np.zeros(size, np.uint8)) // 255, ROAD_IDS
        elif n_classes:
            mask, ids = _columns(size, n_classes), {number: number for number in (*range(n_classes), 255)}
        drawn = None if mask is None else _saved(mask, folder / f"{split}_{number:03d}_mask.png")
        label = -1 if n_classes else int(anomalous)
        defect = "square" if anomalous else "good"
        samples.append(Sample(path, key, class_name, label, drawn, split, defect, dataset, label_ids=ids))
    return samples


def _noise(size: Sequence[int], seed: int) -> Image.Image:
    """Smooth structure under grain of a few grey levels: a PNG about as large as a photograph's."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (size[0] // 16 + 1, size[1] // 16 + 1, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-3, 4, smooth.shape, dtype=np.int16)
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


def _square(size: Sequence[int]) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 4 : size[0] // 2, size[0] // 4 : size[0] // 2] = 255
    return mask


def _columns(size: Sequence[int], n_classes: int) -> np.ndarray:
    columns = np.zeros(size, np.uint8)
    columns[:] = np.arange(size[1]) * n_classes // size[1]
    return columns


def _saved(mask: np.ndarray, path: Path) -> Path:
    Image.fromarray(mask).save(path)
    return path
