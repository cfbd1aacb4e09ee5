"""Pictures that a user names: a file, a folder with all below it, or a pattern such as `parts/**/*.png`."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from adbench.data.tree import images_below, unread_below
from adbench.errors import UserError
from adbench.typed import expanded

RUN = "run.json"
"""What makes a folder one that a command has written: its heat maps and overlays are no input."""


@dataclass(frozen=True)
class NamedPictures:
    """Paths of pictures, sorted, the folder that they are told apart below, and what is said of others in it."""

    base: Path
    paths: tuple[str, ...]
    unread: str = ""

    def relative(self, path: str) -> str:
        """A path below `base`, with forward slashes."""
        return Path(os.path.relpath(path, self.base)).as_posix()


def name_pictures(text: str, where: str) -> NamedPictures:
    """The pictures that `text` names; of folders all that end as image files do, hidden ones and run folders left out.

    A name that is there is no pattern, whatever signs are in it. Nothing is opened. Raises UserError, naming `where`
    (the setting), where there are none.
    """
    place, unread = expanded(text), ""
    if place.is_dir():
        unread = unread_below(place)
        paths = [str(place / relative) for relative in images_below(place, ".")]
        base = place
    elif os.path.lexists(place):
        return NamedPictures(place.parent, (str(place),))
    elif glob.has_magic(str(place)):
        base = _fixed_part(place)
        paths = [path for path in glob.glob(str(place), recursive=True) if not os.path.isdir(path)]
    else:
        raise UserError("there is no such file or folder", where=f"{where}={text}", hint="check the path")
    runs: dict[str, bool] = {}
    chosen = [path for path in sorted(paths) if not _in_run(os.path.dirname(path), base, runs)]
    if not chosen:
        hint = "give a file, a folder or a pattern such as 'parts/**/*.png'"
        what = f"there are no pictures: {unread}" if unread else "there are no pictures"
        raise UserError(what, where=f"{where}={text}", hint=hint)
    return NamedPictures(base, tuple(chosen), unread)


def _fixed_part(pattern: Path) -> Path:
    """The folder above the first part of a pattern that holds a wildcard."""
    parts = pattern.parts
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _in_run(folder: str, base: Path, known: dict[str, bool]) -> bool:
    """Whether a folder below `base` is a run folder, or lies in one."""
    if folder not in known:
        known[folder] = Path(folder) != base and (
            os.path.exists(os.path.join(folder, RUN)) or _in_run(os.path.dirname(folder), base, known)
        )
    return known[folder]
