"""The `meta.json` index that AdaCLIP's and AnomalyCLIP's tools write:

    {"train": {class: [record, ...]}, "test": {class: [record, ...]}}
    record = {"img_path", "mask_path", "cls_name", "specie_name", "anomaly"}

Paths are relative to the file's folder; mask_path is "" where there is none.
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from adbench.data.reading import AS_PUBLISHED, Reading
from adbench.data.sample import Sample
from adbench.data.tree import IMAGE_SUFFIXES, require_files
from adbench.errors import UserError

META_NAME = "meta.json"
_SPLITS = ("train", "test")


def read_meta(root: Path, *, dataset: str, reading: Reading = AS_PUBLISHED) -> list[Sample]:
    """Return the samples that `root/meta.json` lists, in its order, to be read as `reading` says.

    Accepted as found in the wild: capitalised split names (DAGM's script), absolute paths, paths that already hold the
    root (several medical scripts), backslashes, a folder as mask path (means no mask), mask paths of normal images
    (left out). Raises UserError for a malformed file and for listed files that do not exist.
    """
    path = root / META_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError("meta.json is missing", where=f"looked for {path}", mend="give its folder as root") from error
    except (OSError, ValueError) as error:
        raise UserError(f"meta.json cannot be read: {error}", where=str(path), mend="write it again") from error
    places = _Places(root)
    samples = []
    for split, class_name, number, record in _records(content, path):
        where = f"{path}, {split}/{class_name}, record {number}"
        samples.append(_sample(record, split, class_name, dataset=dataset, places=places, where=where))
    require_files(root, [sample.key for sample in samples], listed_in=path)
    masks = [sample.mask_path.as_posix() for sample in samples if sample.mask_path is not None]
    require_files(root, masks, listed_in=path)
    return [replace(sample, reading=reading) for sample in samples]


def _records(content: Any, path: Path) -> Iterator[tuple[str, str, int, Any]]:
    """Yield (split, class, number, record) after checking the two outer levels."""
    if not isinstance(content, dict) or not content:
        raise UserError("meta.json holds no splits", where=str(path), mend='expected the keys "train" and "test"')
    for key, classes in content.items():
        if key.lower() not in _SPLITS or not isinstance(classes, dict):
            raise UserError(
                f"meta.json has the key {key!r}",
                where=str(path),
                mend='expected "train" and "test", each class -> list',
            )
        for class_name, records in classes.items():
            if not isinstance(records, list):
                raise UserError(f"class {class_name!r} is no list", where=f"{path}, {key}", mend="write it again")
            for number, record in enumerate(records):
                yield key.lower(), class_name, number, record


def _sample(record: Any, split: str, class_name: str, *, dataset: str, places: _Places, where: str) -> Sample:
    fields = record if isinstance(record, dict) else {}
    image, anomaly = fields.get("img_path"), fields.get("anomaly")
    if not isinstance(image, str) or not image or anomaly not in (0, 1):
        raise UserError(
            "a record has no img_path, or no anomaly of 0 or 1", where=where, mend="write the file again with its tool"
        )
    label = int(anomaly)
    key = places.key(image)
    mask = fields.get("mask_path") or ""
    defect = fields.get("specie_name") or "anomaly"
    return Sample(
        path=places.root / key,
        key=key,
        class_name=fields.get("cls_name") or class_name,
        label=label,
        mask_path=places.mask(mask) if label and mask else None,
        split=split,
        defect=defect if label else "good",
        dataset=dataset,
    )


class _Places:
    """Paths as written in a meta.json, to paths relative to the root that it lies in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._own_name = root.resolve().name
        self._prefixes = tuple(f"{place.as_posix().rstrip('/')}/" for place in (root, root.absolute(), root.resolve()))
        self._top = frozenset(os.listdir(root))

    def key(self, text: str) -> str:
        """The path relative to the root with forward slashes; absolute where the file lies elsewhere."""
        path = text.strip().replace("\\", "/")
        for prefix in self._prefixes:
            path = path.removeprefix(prefix)
        path = posixpath.normpath(path)
        parts = path.split("/")
        if parts[0] not in self._top and self._own_name in parts:
            # Written from another working directory or machine: what follows the root's own name is what is meant.
            rest = parts[parts.index(self._own_name) + 1 :]
            if rest and rest[0] in self._top:
                return "/".join(rest)
        return path

    def mask(self, text: str) -> Path | None:
        """The mask file; None where the path names a folder, which upstream's loaders take as "no mask"."""
        place = self.root / self.key(text)
        is_image = place.suffix.lower() in IMAGE_SUFFIXES
        return None if not is_image and place.is_dir() else place
