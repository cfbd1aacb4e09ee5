"""The `meta.json` index that AdaCLIP's and AnomalyCLIP's tools write:

    {"train": {class: [record, ...]}, "test": {class: [record, ...]}}
    record = {"img_path", "mask_path", "cls_name", "specie_name", "anomaly"}

Paths are relative to the file's folder; mask_path is "" where there is none.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from adbench.data.reading import AS_PUBLISHED, Reading
from adbench.data.repacks import foreign_format
from adbench.data.sample import Sample
from adbench.data.stems import composed, is_image
from adbench.data.survey import Entry, Note
from adbench.errors import UserError

META_NAME = "meta.json"
_SPLITS = ("train", "test")
_ANOMALY = {0: 0, 1: 1, "0": 0, "1": 1}  # True and 1.0 are equal to 1
_DRIVE = re.compile(r"[A-Za-z]:/")


def read_meta(root: Path, *, dataset: str, reading: Reading = AS_PUBLISHED) -> Iterator[Entry]:
    """Yield the samples that `root/meta.json` lists, in its order, to be read as `reading` says.

    Accepted as found in the wild: capitalised split names (DAGM's script), absolute paths, paths that already hold the
    root (several medical scripts), backslashes, a folder as mask path (means no mask), mask paths of normal images
    (left out), class names that are numbers, training records without an image (left out, with a note). Raises
    UserError for a malformed file.
    """
    path = root / META_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except FileNotFoundError as error:
        raise UserError("meta.json is missing", where=f"looked for {path}", hint="give its folder as root") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"meta.json cannot be read: {error}", where=str(path), hint="write it again") from error
    places = _Places(root)
    n_empty = 0
    for split, class_name, number, record in _records(content, path):
        if split == "train" and isinstance(record, dict) and record.get("img_path") == "":
            n_empty += 1
            continue
        where = f"{path}, {split}/{class_name}, record {number}"
        sample = _sample(record, split, class_name, dataset=dataset, places=places, where=where)
        yield replace(sample, reading=reading)
    if n_empty:
        yield Note(f"{n_empty} training records of {path} name no image and are left out")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError for a key that it has twice: all but the last would be lost."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return content


def _records(content: Any, path: Path) -> Iterator[tuple[str, str, int, Any]]:
    """Yield (split, class, number, record) after checking the two outer levels."""
    form = foreign_format(path.parent) if not isinstance(content, dict) or "classes" in content else None
    if form is not None:
        hint = "get the set from its own source, or write a meta.json of AdaCLIP's form"
        raise UserError(f"meta.json is not one of AdaCLIP's or AnomalyCLIP's form: {form}", where=str(path), hint=hint)
    if not isinstance(content, dict) or not content:
        raise UserError("meta.json holds no splits", where=str(path), hint='expected the keys "train" and "test"')
    splits = [key.lower() for key in content]
    for key, classes in content.items():
        if key.lower() not in _SPLITS or not isinstance(classes, dict) or splits.count(key.lower()) > 1:
            raise UserError(
                f"meta.json has the key {key!r}",
                where=str(path),
                hint='expected "train" and "test" once, each class -> list',
            )
        for class_name, records in classes.items():
            if not isinstance(records, list):
                raise UserError(f"class {class_name!r} is no list", where=f"{path}, {key}", hint="write it again")
            for number, record in enumerate(records):
                yield key.lower(), class_name, number, record


def _sample(record: Any, split: str, class_name: str, *, dataset: str, places: _Places, where: str) -> Sample:
    if not isinstance(record, dict):
        raise _unlike("record", record, where, "an object with img_path, mask_path, cls_name, specie_name, anomaly")
    image, anomaly = record.get("img_path"), record.get("anomaly")
    if not isinstance(image, str) or not image.strip() or "\0" in image:
        raise _unlike("img_path", image, where, "a path of an image")
    label = _ANOMALY.get(anomaly.strip() if isinstance(anomaly, str) else anomaly) if _is_plain(anomaly) else None
    if label is None:
        raise _unlike("anomaly", anomaly, where, "0 or 1")
    key = places.key(image)
    mask = "" if record.get("mask_path") is None else record["mask_path"]
    if not isinstance(mask, str) or "\0" in mask:
        raise _unlike("mask_path", mask, where, 'a path of a mask, or ""')
    defect = _text(record, "specie_name", where) or "anomaly"
    mask_path = places.mask(mask) if label and mask else None
    return Sample.below(
        places.root,
        key,
        dataset=dataset,
        class_name=_text(record, "cls_name", where) or composed(class_name),
        split=split,
        defect=defect if label else None,
        masks=[] if mask_path is None else [mask_path],
    )


def _text(record: dict[str, Any], name: str, where: str) -> str:
    """A name; a whole number is taken for its digits. Raises UserError for anything else."""
    value = record.get(name)
    if value is None:
        return ""
    if (
        not isinstance(value, (str, int))
        or isinstance(value, bool)
        or (isinstance(value, str) and value and not value.strip())
    ):
        raise _unlike(name, value, where, "a name, as text")
    return composed(str(value))


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float))


def _unlike(name: str, value: Any, where: str, expected: str) -> UserError:
    shown = json.dumps(value, ensure_ascii=False)[:60]
    return UserError(f"{name} is {shown}", where=where, hint=f"expected {expected}: mend the record, or write it again")


class _Places:
    """Paths as written in a meta.json, to paths relative to the root that it lies in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._own_name = root.resolve().name
        self._prefixes = tuple(f"{place.as_posix().rstrip('/')}/" for place in (root.absolute(), root.resolve()))
        self._top = frozenset(composed(name) for name in os.listdir(root))

    def key(self, text: str) -> str:
        """The path relative to the root with forward slashes; absolute where the file lies elsewhere."""
        path = text.strip().replace("\\", "/")
        for prefix in self._prefixes:
            path = path.removeprefix(prefix)
        path = posixpath.normpath(path)
        parts = path.split("/")
        if composed(parts[0]) in self._top:
            return path
        if self._own_name in parts:
            # Written from another working directory or machine: what follows the root's own name is what is meant.
            rest = parts[parts.index(self._own_name) + 1 :]
            if rest and composed(rest[0]) in self._top:
                return "/".join(rest)
        elsewhere = path.startswith(("/", "../")) or _DRIVE.match(path)
        if elsewhere and not (self.root / path).exists():
            for start in range(1, len(parts)):
                if composed(parts[start]) in self._top and (self.root / "/".join(parts[start:])).is_file():
                    return "/".join(parts[start:])
        return path

    def mask(self, text: str) -> Path | None:
        """The mask file; None where the path names a folder, which upstream's loaders take as "no mask"."""
        place = self.root / self.key(text)
        return None if not is_image(place.name) and place.is_dir() else place
