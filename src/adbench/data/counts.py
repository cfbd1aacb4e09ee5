"""Numbers of images of a class: as published, and as found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from adbench.data.sample import Sample

PARTS = {
    "train": "train",
    "validation": "validation",
    "normal": "test, normal",
    "anomalous": "test, anomalous",
    "mapped": "with public labels",
}
"""What the fields of `Counts` are called in tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Numbers of images of one class; `mapped`: with a label map that says what is anomalous in them."""

    train: int = 0
    validation: int = 0
    normal: int = 0
    anomalous: int = 0
    mapped: int = 0

    def __str__(self) -> str:
        validation = f", {self.validation} validation" if self.validation else ""
        if self.mapped:
            return f"{self.train} training{validation} and {self.mapped} evaluation"
        return f"{self.train} training{validation}, {self.normal} normal and {self.anomalous} anomalous test"


def count_images(samples: Iterable[Sample], choosing: Collection[str] = ()) -> dict[str, Counts]:
    """Numbers of images by class, of those whose labels are public; splits `choosing` are for validation."""
    numbers: dict[str, Counter[str]] = {}
    for sample in samples:
        if sample.mask_path is None and (sample.label_ids is not None or sample.label < 0):
            continue  # of splits whose labels are held back anything may be missing
        kind = {0: "normal", 1: "anomalous"}.get(sample.label, "mapped")
        part = "validation" if sample.split in choosing else kind
        part = sample.split if sample.split in ("train", "validation") else part
        numbers.setdefault(sample.class_name, Counter())[part] += 1
    return {name: Counts(**parts) for name, parts in numbers.items()}


def parts_of(numbers: Iterable[Counts]) -> list[str]:
    """The fields that a table of these numbers has: rare ones only where there are any."""
    numbers = list(numbers)
    usual = ("train",) if any(counts.mapped for counts in numbers) else ("train", "normal", "anomalous")
    return [part for part in PARTS if part in usual or any(getattr(counts, part) for counts in numbers)]
