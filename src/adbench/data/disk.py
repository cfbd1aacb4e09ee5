"""Which files exist, by one listing per folder, whatever form of Unicode their names were written in."""

from __future__ import annotations

import contextlib
import html
import os
from pathlib import Path
from urllib.parse import unquote

from adbench.data.stems import composed


def kind_of(entry: os.DirEntry[str]) -> str | None:
    """What an entry of a listing is or leads to: "folder", "file", or None for anything else and for nothing."""
    with contextlib.suppress(OSError):  # a link that leads back to itself
        return "folder" if entry.is_dir() else "file" if entry.is_file() else None
    return None


class Disk:
    """Listings of folders, each read once: what changes on disk meanwhile is not seen."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, str] | None] = {}

    def names(self, folder: Path) -> set[str]:
        """Names of the files and folders in a folder; empty for what is no folder.

        Links that lead nowhere, pipes, sockets and devices do not appear.
        """
        return set((self._listed(str(folder)) or {}).values())

    def find(self, path: Path) -> Path | None:
        """`path` as the disk spells it; None where there is no such file. A place inside a file counts as that file."""
        folder, name = os.path.split(str(path))
        stored = self._listed(folder or ".")
        if stored is not None:
            spelt = stored.get(name) or stored.get(composed(name))
            return None if spelt is None else (path if spelt == name else path.parent / spelt)
        if path.parent in (path, Path()):
            return None
        parent = self.find(path.parent)
        if parent is None:
            return None
        if parent == path.parent:
            return path if parent.is_file() else None  # a tile of a picture, or an image inside a larger file
        return self.find(parent / path.name)

    def link(self, path: Path) -> str | None:
        """Where a link leads that leads nowhere; None for anything else."""
        return os.readlink(path) if path.is_symlink() and not path.exists() else None

    def unescaped(self, path: Path) -> Path | None:
        """The file that is meant where `path` is written with %20 or &amp;; None where there is none."""
        other = Path(html.unescape(unquote(str(path))))
        return other if other != path and other.exists() else None

    def _listed(self, folder: str) -> dict[str, str] | None:
        if folder not in self._folders:
            try:
                with os.scandir(folder) as entries:
                    names = [entry.name for entry in entries if kind_of(entry)]
                self._folders[folder] = {composed(name): name for name in names} | {name: name for name in names}
            except OSError:
                self._folders[folder] = None
        return self._folders[folder]
