"""Folder listings: one system call per folder, sorted, images only. Shared by all index functions."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from adbench.data.disk import kind_of
from adbench.data.stems import composed, folded, is_image, is_unread_picture, plain
from adbench.errors import UserError, unknown

DEPTH = 4
"""Levels that are looked through: a folder itself and those that archives add."""
_DEEPEST = 12
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".7z", ".rar")


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies directly in a folder, by name and sorted: image files, and folders. Hidden entries are left out."""

    path: Path
    images: tuple[str, ...]
    folders: tuple[str, ...]


def listing(folder: Path) -> Listing:
    """List a folder. Stray files (.DS_Store, Thumbs.db, texts) and hidden entries do not appear.

    A link that leads nowhere counts as what its name says: an image, or a folder, which then cannot be listed.
    Raises UserError when the folder is missing or unreadable.
    """
    images, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if kind_of(entry) == "folder":
                    folders.append(entry.name)
                elif is_image(entry.name):
                    images.append(entry.name)
                elif entry.is_symlink() and "." not in entry.name and not os.path.exists(entry.path):
                    folders.append(entry.name)
    except OSError as error:
        raise _unlisted(folder, error) from error
    return Listing(Path(folder), tuple(sorted(images)), tuple(sorted(folders)))


def _unlisted(folder: Path, error: OSError) -> UserError:
    if folder.is_symlink() and not folder.exists():
        hint = "mount what it leads to, or make the link anew"
        return UserError("a link leads nowhere", where=f"{folder} -> {os.readlink(folder)}", hint=hint)
    return UserError("folder cannot be listed", where=str(folder), hint=f"check it: {error.strerror}")


def is_occupied(folder: Path) -> bool:
    """Whether it is a folder that holds anything: an empty one is where a data set will be, not where it is."""
    return folder.is_dir() and any(folder.iterdir())


def through(root: Path, folder: str) -> Iterator[str]:
    """Places at which what `folder` holds may lie: itself and, one in the other, folders with nothing beside them."""
    for _ in range(DEPTH):
        yield folder
        here = listing(root / folder)
        if here.images or len(here.folders) != 1:
            return
        folder = join(folder, here.folders[0])


def unwrapped(root: Path, folder: str) -> str:
    """The place below `root` where the images of `folder` lie: archives often hold a lone folder in a folder.

    Raises UserError for a folder that is missing.
    """
    return list(through(root, folder))[-1]


def named(names: Iterable[str], *wanted: str, where: Path) -> str | None:
    """That of `names` which is one of `wanted`, else is so but for case, blanks, `_` and `-`; None where none is.

    Raises UserError where several are.
    """
    names = list(names)
    exact = [name for name in wanted if name in names]
    matches = exact[:1] or [name for name in names if plain(name) in {plain(other) for other in wanted}]
    if len(matches) > 1:
        hint = "keep one of them there"
        raise UserError(f"two folders have one name: {matches[0]!r} and {matches[1]!r}", where=str(where), hint=hint)
    return matches[0] if matches else None


def at(root: Path, path: str) -> str:
    """The folder `path`, relative to `root`, as it is called on disk: names are compared as `named` does.

    As given where it is not there.
    """
    place = ""
    for part in path.split("/"):
        here = root / place
        stored = named(listing(here).folders, part, where=here) if here.is_dir() else None
        if stored is None:
            return path
        place = join(place, stored)
    return place


def has(folder: Path, pattern: str) -> bool:
    """Whether files or folders match a pattern such as `*/test` or `test/*_GT.*`; names are compared as `named` does.

    All parts but the last may lie in lone folders, as archives add them.
    """
    part, _, rest = pattern.partition("/")
    if not folder.is_dir():
        return False
    wild = any(sign in part for sign in "*[")
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
    matching = [
        name for name in names if (fnmatchcase(folded(name), folded(part)) if wild else plain(name) == plain(part))
    ]
    if not rest:
        return bool(matching)
    return any(
        has(folder / place, rest) for name in matching if (folder / name).is_dir() for place in through(folder, name)
    )


def mask_files(folder: Path) -> tuple[str, ...]:
    """The files with masks in a folder, by name, and those in a folder of each image: `7.png`, `7/0.png`."""
    here = listing(folder)
    return (*here.images, *(f"{name}/{file}" for name in here.folders for file in listing(folder / name).images))


def images_below(root: Path, folder: str, depth: int = _DEEPEST) -> list[str]:
    """Paths of the images in a folder and in the folders in it, relative to the root, sorted.

    Raises UserError where folders are nested without end: a link that leads back.
    """
    if depth == 0:
        raise UserError("folders are nested without end", where=folder, hint="remove the link that leads back")
    here = listing(root / folder)
    inner = [path for name in here.folders for path in images_below(root, f"{folder}/{name}", depth - 1)]
    return sorted([*(f"{folder}/{name}" for name in here.images), *inner])


def files_below(root: Path) -> Iterator[Path]:
    """All files in a folder and in the folders in it, sorted within each; hidden ones are left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def unread_below(root: Path) -> str:
    """How many pictures below `root` are of formats that are not read, in words; "" where there are none."""
    unread = [path for path in files_below(root) if is_unread_picture(path.name)]
    if not unread:
        return ""
    n, kinds = len(unread), ", ".join(sorted({path.suffix.lower() for path in unread}))
    are = "picture is of a format that is" if n == 1 else "pictures are of formats that are"
    return f"{n} {are} not read ({kinds}; save them as PNG or JPEG), first {unread[0].relative_to(root)}"


def archives(folder: Path) -> list[str]:
    """Names of the archives in a folder, sorted."""
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(_ARCHIVES) and not name.startswith("."))


def select(folders: Iterable[str], classes: Collection[str] | None, *, where: Path) -> list[str]:
    """The class folders to read: all that were found, or those that were asked for.

    Raises UserError, with the nearest name, for a class that was asked for and not found.
    """
    names = list(folders)
    present = {composed(name) for name in names}
    for name in classes or ():
        if composed(name) not in present:
            raise unknown("class", name, names, where=str(where))
    wanted = present if classes is None else {composed(name) for name in classes}
    return [name for name in names if composed(name) in wanted]


def join(folder: str, name: str) -> str:
    """Join two relative paths with a slash; either may be empty."""
    return f"{folder}/{name}" if folder and name else folder or name
