"""What the road sets have in common: one class, ids of labels, images and label files that belong together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from adbench.data.gaps import are_tolerated
from adbench.data.tree import listing
from adbench.errors import UserError

ROAD = "road"
"""The one class of every road set."""
EVALUATION_IDS = {0: 0, 1: 1, 255: 255}


def label_file(folder: Path, name: str, *, image: Path, held_back: bool = False) -> Path | None:
    """The label file `name` of an image; None where it is missing and the labels of its split are held back.

    Raises UserError for a label file that is missing otherwise, unless `gaps` are tolerated.
    """
    path = folder / name
    if path.is_file():
        return path
    if held_back:
        return None
    if are_tolerated():
        return path
    raise UserError(
        "an image has no label file",
        where=f"{path}, of image {image}",
        mend="unpack the labels of the data set beside its images",
    )


def files_below(folder: Path, suffix: str) -> dict[str, Path]:
    """Files `<folder>/<any folder>/<id><suffix>` by id, sorted; empty where `folder` does not exist."""
    if not folder.is_dir():
        return {}
    found = (path / name for path in _inner(folder) for name in listing(path).images if name.endswith(suffix))
    return {path.name.removesuffix(suffix): path for path in found}


def _inner(folder: Path) -> Iterable[Path]:
    return (folder / name for name in listing(folder).folders)
