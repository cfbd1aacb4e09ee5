"""Is an image file whole? Told from its header and its end where the format allows it, else by decoding it.

A file that was cut short, emptied or overwritten is always found. Damage in the middle of a file that ends as it should
is found by decoding alone (`probe_image(..., decode=True)`).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from adbench.data.containers import file_of, is_member, open_member, tile_box
from adbench.data.images import open_image, read_mask
from adbench.errors import UserError

Size = tuple[int, int]  # height, width

# What PIL raises on files that are cut short, garbled or not images at all.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, KeyError, struct.error, Image.DecompressionBombError)
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_GIF_END = b"\x3b"
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325  # tags of TIFF


@dataclass(frozen=True, slots=True)
class Probe:
    """Height and width of an image, or the error that says what is wrong with its file."""

    size: Size | None
    error: UserError | None = None


def probe_image(path: Path, *, decode: bool = False) -> Probe:
    """Look at an image file, an image inside a larger file, or a tile."""
    try:
        if is_member(path):
            image = open_member(path)
            return Probe((image.height, image.width))
        size = None if decode else _size_if_whole(file_of(path))
        if size is None:
            image = open_image(file_of(path))
            size = (image.height, image.width)
    except UserError as error:
        return Probe(None, error)
    return Probe(_of_tile(path, size))


def probe_mask(path: Path, *, image: Path) -> Probe:
    """Look at the file of a mask or label map; `image` is whose it is."""
    size = _size_if_whole(file_of(path), floats=True)
    if size is None:
        try:
            height, width = read_mask(file_of(path), image=file_of(image)).shape[:2]
        except UserError as error:
            return Probe(None, error)
        size = (height, width)
    return Probe(_of_tile(path, size))


def _of_tile(path: Path, size: Size) -> Size:
    """The size of the tile that `path` stands for, or of the whole picture."""
    box = tile_box(path)
    return size if box is None else (box[3] - box[1], box[2] - box[0])


def _size_if_whole(path: Path, *, floats: bool = False) -> Size | None:
    """Height and width if the file can be seen to be whole without decoding it, else None."""
    try:
        with path.open("rb") as file, Image.open(file) as opened:
            whole = (floats or opened.mode != "F") and _is_whole(opened, file)
            return (opened.height, opened.width) if whole else None
    except _BROKEN:
        return None


def _is_whole(opened: Image.Image, file: BinaryIO) -> bool:
    n_bytes = os.fstat(file.fileno()).st_size
    if opened.format == "PNG":
        return _end(file, len(_PNG_END)) == _PNG_END
    if opened.format in ("JPEG", "MPO"):
        return _end(file, len(_JPEG_END)) == _JPEG_END
    if opened.format == "GIF":
        return _end(file, len(_GIF_END)) == _GIF_END
    if opened.format == "WEBP":
        return n_bytes >= 8 + int(struct.unpack("<I", _at(file, 4, 4))[0])
    if opened.format == "BMP":
        return n_bytes >= _bytes_of_bmp(file)
    if opened.format == "TIFF":
        return n_bytes >= _bytes_of_tiff(opened)
    return False


def _bytes_of_bmp(file: BinaryIO) -> int:
    """Where the pixels of an uncompressed bitmap end. Raises ValueError for others."""
    offset, header = struct.unpack("<II", _at(file, 10, 8))
    if header < 40:
        raise ValueError("an old header")
    width, height, _, bits, compression = struct.unpack("<iiHHI", _at(file, 18, 16))
    if compression != 0:
        raise ValueError("compressed")
    end: int = offset + (width * bits + 31) // 32 * 4 * abs(height)
    return end


def _bytes_of_tiff(opened: Image.Image) -> int:
    """Where the last strip or tile of the first picture ends. Raises KeyError where the file does not say."""
    tags = opened.tag_v2  # type: ignore[attr-defined]
    starts, sizes = (_STRIPS, _STRIP_BYTES) if _STRIPS in tags else (_TILES, _TILE_BYTES)
    end: int = max(start + size for start, size in zip(tags[starts], tags[sizes], strict=True))
    return end


def _end(file: BinaryIO, n: int) -> bytes:
    file.seek(-n, os.SEEK_END)
    return file.read(n)


def _at(file: BinaryIO, position: int, n: int) -> bytes:
    file.seek(position)
    return file.read(n)
