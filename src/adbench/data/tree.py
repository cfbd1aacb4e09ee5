"""Folder listings: one system call per folder, sorted, images only. Shared by all index functions."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adbench.data.gaps import are_tolerated
from adbench.errors import UserError, unknown

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".pnm"}
)


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies directly in a folder, by name and sorted: image files, and folders. Hidden entries are left out."""

    path: Path
    images: tuple[str, ...]
    folders: tuple[str, ...]


def listing(folder: Path) -> Listing:
    """List a folder. Stray files (.DS_Store, Thumbs.db, texts) and hidden entries do not appear.

    Raises UserError when it is missing or unreadable.
    """
    images, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                    images.append(entry.name)
    except OSError as error:
        raise UserError("folder cannot be listed", where=str(folder), mend=f"check it: {error.strerror}") from error
    return Listing(Path(folder), tuple(sorted(images)), tuple(sorted(folders)))


def is_occupied(folder: Path) -> bool:
    """Whether it is a folder that holds anything: an empty one is where a data set will be, not where it is."""
    return folder.is_dir() and any(folder.iterdir())


def unwrapped(root: Path, folder: str) -> str:
    """The place below `root` where the images of `folder` lie: archives often hold a lone folder in a folder.

    Follows folders that hold nothing but one folder. Raises UserError for a folder that is missing.
    """
    here = listing(root / folder)
    while not here.images and len(here.folders) == 1:
        folder = f"{folder}/{here.folders[0]}"
        here = listing(root / folder)
    return folder


def select(found: Iterable[str], classes: Collection[str] | None, *, where: Path) -> list[str]:
    """The class folders to read: all that were found, or those that were asked for.

    Raises UserError, with the nearest name, for a class that was asked for and not found.
    """
    names = list(found)
    for name in classes or ():
        if name not in names:
            raise unknown("class", name, names, where=str(where))
    return [name for name in names if classes is None or name in classes]


def require_files(root: Path, keys: Sequence[str], *, listed_in: Path) -> None:
    """Check that all files `keys` (paths relative to `root`, or complete) exist, by one listing per folder.

    Raises UserError with the number of missing files and the first one's name, unless `gaps` are tolerated.
    """
    if are_tolerated():
        return
    present: dict[str, frozenset[str]] = {}
    missing = []
    for key in keys:
        folder, name = os.path.split(key)
        if folder not in present:
            present[folder] = _file_names(root / folder)
        if name not in present[folder]:
            missing.append(key)
    if missing:
        number = f"{len(missing)} of {len(keys)} files are" if len(missing) > 1 else "a file is"
        raise UserError(
            f"{number} missing, first {missing[0]!r}",
            where=f"listed in {listed_in}, looked for below {root}",
            mend="restore the files or mend the list",
        )


def _file_names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
