"""Numbers of images of a class: as published, and as found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from adbench.data.sample import Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Numbers of images of one class; `mapped`: with a label map that says what is anomalous in them."""

    train: int = 0
    normal: int = 0
    anomalous: int = 0
    mapped: int = 0

    def __str__(self) -> str:
        if self.mapped:
            return f"{self.train} training and {self.mapped} evaluation"
        return f"{self.train} training, {self.normal} normal and {self.anomalous} anomalous test"


def count_images(samples: Iterable[Sample]) -> dict[str, Counts]:
    """Numbers of images by class, of those whose labels are public."""
    numbers: dict[str, list[int]] = {}
    for sample in samples:
        if sample.label_ids is not None and sample.mask_path is None:
            continue  # of splits whose labels are held back anything may be missing
        entry = numbers.setdefault(sample.class_name, [0, 0, 0, 0])
        entry[0 if sample.split == "train" else (3 if sample.label < 0 else 1 + sample.label)] += 1
    names = ("train", "normal", "anomalous", "mapped")
    return {name: Counts(**dict(zip(names, entry, strict=True))) for name, entry in numbers.items()}
