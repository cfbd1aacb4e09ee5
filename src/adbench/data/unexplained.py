"""Image files in a data set's folder that no rule of its layout explains: `data check` mentions them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from adbench.data.containers import file_of
from adbench.data.sample import Sample
from adbench.data.stems import is_image
from adbench.data.tree import files_below, unread_below

# First bytes of PNG, JPEG, BMP, TIFF (both byte orders) and GIF.
_HEADERS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*", b"GIF8")


def unexplained(root: Path, samples: Iterable[Sample]) -> list[str]:
    """A line for images that no sample is read from, for those of formats that are not read, and for images without an
    extension; none where all is used.

    Masks of normal images, named as these are, are left alone by rule. Hidden entries are not looked at.
    """
    used, stems = set(), set()
    for sample in samples:
        stems.add(sample.path.stem)
        used |= {os.path.realpath(file_of(path)) for path in sample.files}
    if not used:
        return []
    strangers, bare = [], []
    for path in files_below(root):
        if is_image(path.name):
            of_an_image = not stems.isdisjoint((path.stem, path.stem.rpartition("_")[0]))
            if os.path.realpath(path) not in used and not of_an_image:
                strangers.append(path)
        elif not path.suffix and path.is_file() and _looks_like_an_image(path):
            bare.append(path)
    lines = [unread] if (unread := unread_below(root)) else []
    if strangers:
        lines.append(f"{len(strangers)} image files are no part of the layout, first {strangers[0].relative_to(root)}")
    if bare:
        lines.append(f"{len(bare)} images have no extension and are not read, first {bare[0].relative_to(root)}")
    return lines


def _looks_like_an_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(_HEADERS)
    except OSError:  # nothing that could be read as an image
        return False
