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
from adbench.data.decoding import BROKEN, decode, opened, raw_mode
from adbench.data.images import PEAK, open_image, upright_size
from adbench.data.reading import AS_PUBLISHED, Reading
from adbench.errors import UserError

Size = tuple[int, int]  # height, width

_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_GIF_END = b"\x3b"
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325  # tags of TIFF


@dataclass(frozen=True, slots=True)
class Probe:
    """Height and width of an image, or the error that says what is wrong with its file.

    `misnamed`: in another format than the name says; `cmyk`: stored in the colours of print; `transparent`: some pixels
    are; `peak`: see `Contents`.
    """

    size: Size | None
    error: UserError | None = None
    misnamed: bool = False
    cmyk: bool = False
    transparent: bool = False
    peak: float | None = None


def probe_image(path: Path, reading: Reading = AS_PUBLISHED, *, decode: bool = False) -> Probe:
    """Look at an image file, an image inside a larger file, or a tile.

    Files with 16 bits or transparency are always decoded: their header does not tell how much of either is used.
    """
    try:
        if is_member(path):
            image = open_member(path)
            return Probe((image.height, image.width))
        file = file_of(path)
        with opened(file, max_megapixels=reading.max_megapixels) as image:
            telling = _has_alpha(image) or image.mode.startswith("I") or ";16" in raw_mode(image)
            size, cmyk, misnamed = upright_size(image, reading), image.mode == "CMYK", _is_misnamed(image, file)
            whole = not (decode or telling or image.mode == "F") and _seems_whole(image, file)
        if whole:
            return Probe(_of_tile(path, size), None, misnamed, cmyk)
        image = open_image(file, reading)
        return Probe(_of_tile(path, size), None, misnamed, cmyk, _is_transparent(image), image.info.get(PEAK))
    except UserError as error:
        return Probe(None, error)


def probe_labels(path: Path, *, image: Path) -> Probe:
    """Look at the file of a label map; `image` is whose it is."""
    try:
        with opened(file_of(path), "label", of=file_of(image)) as stored:
            if not _seems_whole(stored, file_of(path)):
                decode(stored)
            return Probe(_of_tile(path, (stored.height, stored.width)))
    except UserError as error:
        return Probe(None, error)


def _is_misnamed(image: Image.Image, path: Path) -> bool:
    named = {".jpe": "JPEG", ".jfif": "JPEG", ".mpo": "JPEG"} | Image.registered_extensions()
    return named.get(path.suffix.lower()) != {"MPO": "JPEG", "DIB": "BMP"}.get(str(image.format), image.format)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info


def _is_transparent(image: Image.Image) -> bool:
    if not _has_alpha(image):
        return False
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return lowest < 255  # type: ignore[operator]


def _of_tile(path: Path, size: Size) -> Size:
    """The size of the tile that `path` stands for, or of the whole picture."""
    box = tile_box(path)
    return size if box is None else (box[3] - box[1], box[2] - box[0])


def _seems_whole(image: Image.Image, path: Path) -> bool:
    """Whether an opened file can be seen to be whole without decoding it."""
    try:
        with path.open("rb") as file:
            return _is_whole(image, file)
    except BROKEN:
        return False


def _is_whole(image: Image.Image, file: BinaryIO) -> bool:
    n_bytes = os.fstat(file.fileno()).st_size
    if image.format == "PNG":
        return _end(file, len(_PNG_END)) == _PNG_END
    if image.format in ("JPEG", "MPO"):
        return _end(file, len(_JPEG_END)) == _JPEG_END
    if image.format == "GIF":
        return _end(file, len(_GIF_END)) == _GIF_END
    if image.format == "WEBP":
        return n_bytes >= 8 + int(struct.unpack("<I", _at(file, 4, 4))[0])
    if image.format == "BMP":
        return n_bytes >= _bytes_of_bmp(file)
    if image.format == "TIFF":
        return n_bytes >= _bytes_of_tiff(image)
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


def _bytes_of_tiff(image: Image.Image) -> int:
    """Where the last strip or tile of the first picture ends. Raises KeyError where the file does not say."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    starts, sizes = (_STRIPS, _STRIP_BYTES) if _STRIPS in tags else (_TILES, _TILE_BYTES)
    end: int = max(start + size for start, size in zip(tags[starts], tags[sizes], strict=True))
    return end


def _end(file: BinaryIO, n: int) -> bytes:
    file.seek(-n, os.SEEK_END)
    return file.read(n)


def _at(file: BinaryIO, position: int, n: int) -> bytes:
    file.seek(position)
    return file.read(n)
