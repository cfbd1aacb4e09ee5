"""What a mask file marks: its values as they are stored, be they numbers, palette indices, colours or transparency."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from adbench.data.containers import tile_box
from adbench.data.decoding import decode, opened, raw_mode
from adbench.data.reading import AS_PUBLISHED, HALF, Reading
from adbench.errors import UserError

_COLOURS = 16  # a drawing has fewer
_TINT = 16  # channels that differ less than this are grey, but for compression
_SAVE = "save it as one grey channel, 0 and 255"


@dataclass(frozen=True, slots=True)
class StoredMask:
    """values (H, W), 0 where nothing is marked; `full` is what a value of full scale is: 1 where values are no degrees
    (bits, labels of a palette), else 255 or 65535. `lossy`: compressed with loss."""

    values: NDArray[Any]
    full: int
    lossy: bool

    def marked(self, reading: Reading) -> NDArray[np.bool_]:
        """Where the mask marks a defect (H, W)."""
        threshold = reading.lossy_threshold if self.lossy else reading.threshold
        above: NDArray[np.bool_] = self.values > threshold * self.full / 255 if threshold else self.values > 0
        return ~above if reading.inverted else above

    @property
    def faint(self) -> float:
        """The share of values from 1 to 127 of 255: edges that were resized or compressed, not small label numbers."""
        if self.full != 255 or not (self.lossy or self.values.max(initial=0) > HALF):
            return 0.0
        return float(np.count_nonzero((self.values > 0) & (self.values <= HALF)) / max(1, self.values.size))


def read_mask(path: Path, *, image: Path | None = None, reading: Reading = AS_PUBLISHED) -> StoredMask:
    """Read a mask file, or a tile of one. `image` is named in errors.

    Of several channels any that is not zero counts; transparency where the colour is the same everywhere. Raises
    UserError for a file that is missing or broken, and for one that is no mask or has two meanings: a photograph,
    colours and transparency that both vary, degrees in floating point, a palette whose background is not its index 0.
    """
    if box := tile_box(path):
        left, upper, right, lower = box
        whole = read_mask(path.parent, image=image, reading=reading)
        return replace(whole, values=whole.values[upper:lower, left:right])
    where = f"{path}, of image {image}" if image is not None else str(path)
    with opened(path, "mask", of=image, max_megapixels=reading.max_megapixels) as stored:
        lossy, reduced = is_lossy(stored, path), raw_mode(stored).find(";16") > 0
        decode(stored)
        if reading.exif:
            ImageOps.exif_transpose(stored, in_place=True)
        picture = stored.convert("RGB") if stored.mode in ("CMYK", "YCbCr", "LAB", "HSV") else stored
        values = np.asarray(picture)
    if values.ndim == 3:
        values, full = _of_channels(values, stored.mode, lossy, where), 255
        if reduced and set(np.unique(values)) != {0, 255}:
            raise UserError("mask stores 16 bits per colour, of which 8 are read", where=where, hint=_SAVE)
        return StoredMask(values, full, lossy)
    if stored.mode == "P":
        return StoredMask(_of_palette(values, stored, reading, where), 1, lossy)
    if stored.mode == "F":
        levels = np.unique(values)
        if len(levels) > 2 or not np.isfinite(levels).all():
            what = "mask holds floating-point values of more than two kinds"
            raise UserError(what, where=where, hint="decide from which value on they are defects, and " + _SAVE)
        return StoredMask(values > 0, 1, lossy)
    return StoredMask(values, {"1": 1, "L": 255}.get(stored.mode, 65535), lossy)


def is_lossy(image: Image.Image, path: Path) -> bool:
    """Whether an opened file is compressed with loss."""
    if image.format == "WEBP":
        return _is_lossy_webp(path)
    return image.format in ("JPEG", "MPO", "AVIF") or str(image.info.get("compression", "")) in (
        "jpeg",
        "tiff_jpeg",
        "webp",
    )


def _is_lossy_webp(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name in (b"VP8 ", b"VP8L"):
                return bool(name == b"VP8 ")
            file.seek(size + size % 2, 1)
    return True


def _of_channels(values: NDArray[Any], mode: str, lossy: bool, where: str) -> NDArray[Any]:
    """One value per pixel (H, W) of a mask of several channels (H, W, C)."""
    if mode in ("LA", "RGBA", "PA", "La", "RGBa"):
        colours, alpha = values[..., :-1], values[..., -1]
        if np.ptp(alpha) > 0:
            if np.ptp(colours, axis=(0, 1)).any():
                what = f"mask is an {mode} picture whose colours and transparency (alpha) both vary"
                raise UserError(what, where=where, hint=_SAVE)
            return alpha
        values = colours
    _refuse_photograph(values, lossy, where)
    largest: NDArray[Any] = values.max(axis=2)
    return largest


def _refuse_photograph(values: NDArray[Any], lossy: bool, where: str) -> None:
    """Raise UserError for what is no drawing of few colours on black. (H, W, C)"""
    tint = values.max(axis=2) - values.min(axis=2)
    if tint.max(initial=0) <= _TINT:
        return  # grey: degrees are legal there
    if lossy:
        values = values >> 5  # compression makes many shades of one colour
    _, counts = np.unique(values.reshape(-1, values.shape[2]), axis=0, return_counts=True)
    n_colours = int((counts > values.shape[0] * values.shape[1] // 1000).sum()) if lossy else len(counts)
    corners = values[[0, 0, -1, -1], [0, -1, 0, -1]]
    if n_colours > _COLOURS or corners.any(axis=1).all():
        told = f"{n_colours} colours" if n_colours > _COLOURS else "a background that is not black"
        what = f"mask is a coloured picture with {told}: a photograph, or drawn on one"
        raise UserError(what, where=where, hint=_SAVE)


def _of_palette(values: NDArray[Any], stored: Image.Image, reading: Reading, where: str) -> NDArray[Any]:
    """Whether each index marks a defect (H, W): it is not 0, or it is opaque where all indices have one colour."""
    counts = np.bincount(values.ravel(), minlength=256)
    used = np.flatnonzero(counts)
    palette = np.zeros((256, 3), np.uint8)
    entries = np.array(stored.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    palette[: len(entries)] = entries
    if len(used) > _COLOURS:
        _refuse_photograph(palette[values], False, where)
    alpha = _palette_alpha(stored)
    if len(used) > 1 and not np.ptp(palette[used], axis=0).any() and np.ptp(alpha[used]) > 0:
        opaque: NDArray[np.bool_] = alpha[values] > 0
        return opaque
    # Index 0 is the background where it is black, as in grey files, or where most of the picture has it.
    agrees = not palette[0].any() and palette[used[used > 0]].any(axis=1).all()
    if not reading.inverted and not agrees and counts[0] < counts.max():
        what = f"the commonest index of the mask's palette is {int(counts.argmax())}, and 0 is the background"
        raise UserError(what, where=where, hint=_SAVE)
    return values > 0


def _palette_alpha(stored: Image.Image) -> NDArray[np.uint8]:
    """Opacity of each of 256 palette indices."""
    alpha = np.full(256, 255, np.uint8)
    told = stored.info.get("transparency")
    if isinstance(told, bytes):
        alpha[: len(told)] = list(told)
    elif isinstance(told, int):
        alpha[told] = 0
    return alpha
