"""What the record of weights says against results: which classes and which very pictures they were made with."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from adbench.data import catalogue
from adbench.data.fingerprint import file_hashes
from adbench.data.sample import Sample
from adbench.engine.weights import WeightsRecord
from adbench.errors import UserError

_BYTES = 6
"""Of each picture's sha256 that records keep: 8 characters. 10^5 x 10^5 pictures agree by chance 1 time in 28,000."""

Part = Mapping[str, Any]
"""What a record keeps of a data set: "name", "classes" and, since hashes are kept, "images"."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Numbers of images to be scored, by class, that are among those trained on, or selected by."""

    trained: Mapping[str, int] = field(default_factory=dict)
    selected: Mapping[str, int] = field(default_factory=dict)


def pictures(samples: Sequence[Sample]) -> str:
    """Shortened hashes of the files of all images, each once, sorted: 8 characters per image. Reads the files."""
    return base64.b64encode(b"".join(sorted(set(_hashes(samples))))).decode()


def find_overlap(record: WeightsRecord | None, samples: Sequence[Sample]) -> Overlap:
    """Which of `samples` the weights have seen, by the bytes of their files: read only where a record keeps hashes."""
    if record is None:
        return Overlap()
    trained, selected = _images(_trained_parts(record)[0]), _images((record.selection or {}).get("data") or ())
    if not (trained or selected):
        return Overlap()
    hashes = list(zip((sample.class_name for sample in samples), _hashes(samples), strict=True))
    return Overlap(
        Counter(name for name, digest in hashes if digest in trained),
        Counter(name for name, digest in hashes if digest in selected),
    )


def marks(dataset: str, classes: Sequence[str], record: WeightsRecord, n_images: int, seen: Overlap) -> dict[str, Any]:
    """zero_shot, selected_on_test and notes of a row on `n_images` of these classes."""
    zero_shot: bool | None = True
    notes = list(record.remarks)
    parts, whole = _trained_parts(record)
    names, same, likewise = _judged(dataset, classes, parts, seen.trained)
    if names or same:
        zero_shot = False
        notes += [f"not zero-shot: {text} trained on" for text in _said(names, same, classes, n_images)]
    if not whole:
        zero_shot = None if zero_shot else zero_shot
        notes.append("it is unknown what the weights were trained on")
    if likewise:
        notes.append(f"trained on other pictures of {dataset} under the same class name: {', '.join(likewise)}")
    selected_by = (record.selection or {}).get("data", [])
    names, same, _ = _judged(dataset, classes, selected_by or (), seen.selected)
    if selected_by is None:
        notes.append("not held out: the authors' code keeps the epoch that does best on the test images")
    notes += [f"not held out: {text} used to select the weights" for text in _said(names, same, classes, n_images)]
    fitted_to = (record.adaptation or {}).get("dataset", dataset)
    if fitted_to != dataset:
        notes.append(f"fitted to normal images of {fitted_to}")
    return {"zero_shot": zero_shot, "selected_on_test": bool(selected_by is None or names or same), "notes": notes}


def trained_on(record: WeightsRecord | None) -> list[str] | None:
    """Names of the data sets that went into the weights; None: unknown."""
    parts, whole = ([], True) if record is None else _trained_parts(record)
    return sorted({part["name"] for part in parts}) if whole else None


def _trained_parts(record: WeightsRecord) -> tuple[list[Part], bool]:
    """What is known of the data of the weights and of those that they were started from; whether that is all."""
    start = (record.start or {"data": []})["data"]
    return [*(record.data or ()), *(start or ())], record.data is not None and start is not None


def _judged(
    dataset: str, classes: Sequence[str], parts: Sequence[Part], seen: Mapping[str, int]
) -> tuple[list[str], int, list[str]]:
    """Classes that are the same objects by name, number of the very same pictures, classes alike by name alone."""
    by_name, alike = [], []
    for name in classes:
        same_name = [part for part in parts if part["name"] == dataset and name in part["classes"]]
        if any(_kind(dataset) == "published" or "images" not in part for part in same_name):
            by_name.append(name)
        elif same_name and not seen.get(name) and _kind(dataset) == "own":
            alike.append(name)
    return by_name, sum(seen.get(name, 0) for name in classes), alike


def _kind(dataset: str) -> Literal["published", "own", "scenes"]:
    """What a class's name tells: the same objects; whatever a user calls so; nothing about what is to be found."""
    if dataset not in catalogue.names():
        return "own"
    spec = catalogue.get(dataset)
    if spec.supervision == "segmentation":
        return "scenes"
    return "published" if spec.classes else "own"


def _hashes(samples: Sequence[Sample]) -> list[bytes]:
    """Of each picture; with something pasted into it, it is another picture."""
    parts = [[path for path in (sample.path, sample.overlay_path) if path is not None] for sample in samples]
    hashes = file_hashes(path for part in parts for path in part)
    return [hashlib.sha256("".join(hashes[path] for path in part).encode()).digest()[:_BYTES] for part in parts]


def _said(names: Sequence[str], same: int, classes: Sequence[str], n_images: int) -> list[str]:
    said = []
    if names:
        said.append("the class was" if len(classes) == 1 else f"{len(names)} of {len(classes)} classes were")
    if same:
        said.append(f"{same} of these {n_images} pictures were")
    return said


def _images(parts: Sequence[Part]) -> frozenset[bytes]:
    hashes: set[bytes] = set()
    for part in parts:
        try:
            packed = base64.b64decode(part.get("images", ""), validate=True)
        except (binascii.Error, ValueError) as error:
            hint = "train the weights again"
            raise UserError("the hashes of training images in the weights are damaged", hint=hint) from error
        hashes |= {packed[at : at + _BYTES] for at in range(0, len(packed), _BYTES)}
    return frozenset(hashes)
