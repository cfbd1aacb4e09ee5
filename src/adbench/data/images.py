"""Image and mask files to decoded PIL images, in one place for all data sets; a broken file becomes a UserError."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.containers import is_member, open_member, tile_box
from adbench.data.sample import Sample
from adbench.errors import UserError

# What PIL raises on files that are cut short, garbled or not images at all.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def open_image(path: Path) -> Image.Image:
    """Decode an image in its stored mode; 16-bit images are reduced to 8 bits.

    Grey images stay grey and palette images stay palette images: when to convert to RGB is the transform's choice.
    16-bit values are divided by 256 and rounded down, as OpenCV does for a plain read (AdaCLIP reads .tif files so),
    never stretched to the image's own range, which would make pictures of one class incomparable. A .tif of 8 bits
    without alpha gives the pixels that OpenCV gives after BGR -> RGB. EXIF orientation is not applied. Raises UserError
    naming the file when it is missing, truncated, no image, or holds floating-point values.
    """
    if is_member(path):
        return open_member(path)
    if box := tile_box(path):
        return open_image(path.parent).crop(box)
    try:
        with Image.open(path) as opened:
            opened.load()
            image: Image.Image = opened.copy()
    except FileNotFoundError as error:
        raise _missing(path) from error
    except _BROKEN as error:
        raise _unreadable("image", path, error) from error
    if image.mode.startswith("I"):  # "I;16", "I;16B": 16-bit files; "I": the same in older versions of PIL
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "F":
        raise UserError("image holds floating-point values", where=str(path), mend="convert it to 8 or 16 bits")
    return image


def open_picture(sample: Sample) -> Image.Image:
    """Decode a sample's image as `open_image` does and, where the sample has an overlay, add that to it.

    The sum is formed in a signed type and cut to 0...255. Raises UserError for a broken file or a misfit of sizes.
    """
    image = open_image(sample.path)
    if sample.overlay_path is None:
        return image
    pixels = np.asarray(image.convert("RGB"))
    try:
        with np.load(sample.overlay_path, allow_pickle=False) as stored:
            overlay = stored["rgb"]
    except FileNotFoundError as error:
        raise UserError("overlay file is missing", where=f"{sample.overlay_path}, of {sample.path}") from error
    except (*_BROKEN, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable("overlay", sample.overlay_path, error) from error
    if overlay.dtype.kind not in "iu" or overlay.shape != pixels.shape:
        raise UserError(
            f"the overlay holds {overlay.dtype} {overlay.shape} but its image is uint8 {pixels.shape}",
            where=f"{sample.overlay_path}, of image {sample.path}",
            mend="pair the overlay with its own image; it holds whole numbers under the key rgb",
        )
    return Image.fromarray((pixels.astype(np.int64) + overlay.astype(np.int64)).clip(0, 255).astype(np.uint8))


def stored_size(path: Path) -> tuple[int, int]:
    """Height and width of an image from its file's header. Raises UserError where it is missing or no image."""
    if is_member(path):
        image = open_member(path)
        return image.height, image.width
    if box := tile_box(path):
        left, upper, right, lower = box
        return lower - upper, right - left
    try:
        with Image.open(path) as opened:
            return opened.height, opened.width
    except FileNotFoundError as error:
        raise _missing(path) from error
    except _BROKEN as error:
        raise _unreadable("image", path, error) from error


def open_mask(sample: Sample, size: tuple[int, int]) -> Image.Image:
    """Return the sample's mask as an 8-bit grey image of `size` (width, height): 255 where anomalous, else 0.

    Any value above 0 in the file marks a defect (some sets store label numbers), or value 0 where `inverted_mask` is
    set; `further_masks` are joined to it. Normal samples and samples without a mask file give zeros. Raises UserError
    for a missing or broken mask file and for a mask of another size than its image.
    """
    if sample.label == 0 or sample.mask_path is None:
        return Image.new("L", size)
    anomalous = np.zeros((size[1], size[0]), bool)
    for path in (sample.mask_path, *sample.further_masks):
        values = read_mask(path, image=sample.path)
        height, width = values.shape[:2]
        if (width, height) != size:
            raise UserError(
                f"mask is {width}x{height} pixels but its image {size[0]}x{size[1]}",
                where=f"{path}, of image {sample.path}",
                mend="pair the image with its own mask, or save the mask at the image's size",
            )
        anomalous |= values == 0 if sample.inverted_mask else values > 0
    return Image.fromarray(anomalous.astype(np.uint8) * 255)


def read_mask(path: Path, *, image: Path | None = None) -> NDArray[Any]:
    """Return the values of a mask file (H, W) as stored; the luminance where it holds colours.

    `image` is named beside it in the UserError for a missing or broken file.
    """
    if box := tile_box(path):
        left, upper, right, lower = box
        return read_mask(path.parent, image=image)[upper:lower, left:right]
    try:
        with Image.open(path) as opened:
            # 16-bit and float masks must not lose small label numbers on the way to 8 bits.
            return np.asarray(opened if opened.mode[0] in "IF" else opened.convert("L"))
    except FileNotFoundError as error:
        where = f"{path}, of image {image}" if image is not None else str(path)
        raise UserError("mask file is missing", where=where, mend="restore it or index the folder again") from error
    except _BROKEN as error:
        raise _unreadable("mask", path, error) from error


def _missing(path: Path) -> UserError:
    return UserError("image file is missing", where=str(path), mend="restore it or index the folder again")


def _unreadable(kind: str, path: Path, error: BaseException) -> UserError:
    return UserError(
        f"{kind} file cannot be read: {error}", where=str(path), mend="replace the file: it may be truncated"
    )
