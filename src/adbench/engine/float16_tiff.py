"""Anomaly maps as TIFF files of half precision, which image libraries do not write: one strip, deflated (TIFF 6.0)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adbench.errors import UserError

_SHORT, _LONG = 3, 4
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _FORMAT = 273, 277, 278, 279, 339
_DEFLATE, _BLACK_IS_ZERO, _FLOAT = 8, 1, 3
_HEADER = struct.Struct("<2sHI")
_ENTRY = struct.Struct("<HHII")


def float16_tiff(map_: NDArray[np.float16]) -> bytes:
    """The content of a TIFF file with the map (H, W)."""
    height, width = map_.shape
    data = zlib.compress(np.ascontiguousarray(map_, "<f2").tobytes(), 1)
    entries = (
        (_WIDTH, _LONG, width),
        (_LENGTH, _LONG, height),
        (_BITS, _SHORT, 16),
        (_COMPRESSION, _SHORT, _DEFLATE),
        (_PHOTOMETRIC, _SHORT, _BLACK_IS_ZERO),
        (_OFFSETS, _LONG, _HEADER.size),
        (_SAMPLES, _SHORT, 1),
        (_ROWS, _LONG, height),
        (_COUNTS, _LONG, len(data)),
        (_FORMAT, _SHORT, _FLOAT),
    )
    padding = b"\0" * (len(data) % 2)  # a directory begins at an even place
    directory = b"".join(_ENTRY.pack(tag, kind, 1, value) for tag, kind, value in entries)
    head = _HEADER.pack(b"II", 42, _HEADER.size + len(data) + len(padding))
    return head + data + padding + struct.pack("<H", len(entries)) + directory + struct.pack("<I", 0)


def float16_size(path: Path) -> tuple[int, int]:
    """Height and width of a file that `float16_tiff` has made. Raises UserError for any other, or a cut one."""
    try:
        with path.open("rb") as file:
            mark, number, start = _HEADER.unpack(file.read(_HEADER.size))
            file.seek(start)
            (count,) = struct.unpack("<H", file.read(2))
            tags = {tag: value for tag, _, _, value in (_ENTRY.unpack(file.read(_ENTRY.size)) for _ in range(count))}
    except (OSError, struct.error) as error:
        raise UserError(f"the map cannot be read: {error}", where=str(path), hint="write it again") from error
    if (mark, number, tags.get(_BITS), tags.get(_FORMAT), tags.get(_SAMPLES)) != (b"II", 42, 16, _FLOAT, 1):
        raise UserError("the map does not hold one number of half precision per pixel", where=str(path))
    return tags[_LENGTH], tags[_WIDTH]
