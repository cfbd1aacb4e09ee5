"""Image and mask files to decoded PIL images, in one place for all data sets; a broken file becomes a UserError."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from adbench.data.containers import is_member, open_member, tile_box
from adbench.data.contents import Contents
from adbench.data.decoding import BROKEN, decode, opened, raw_mode
from adbench.data.mask_values import StoredMask, read_mask
from adbench.data.reading import AS_PUBLISHED, Reading
from adbench.data.sample import Sample
from adbench.errors import UserError

PEAK = "peak"
"""Key in the `info` of a 16-bit image: its largest value as a share of the range that its bits have."""
TURNED = "turned"
"""Key in the `info` of an image that was turned upright by its EXIF orientation: that orientation."""
_ORIENTATION = 0x0112
_TURNING = (2, 3, 4, 5, 6, 7, 8)
_SWAPPING = (5, 6, 7, 8)  # orientations that swap width and height


def open_image(path: Path, reading: Reading = AS_PUBLISHED) -> Image.Image:
    """Decode an image in its stored mode; 16-bit images are reduced to 8 bits.

    Grey images stay grey and palette images stay palette images: when to convert to RGB is the transform's choice.
    16-bit values are divided by 256 and rounded down, as OpenCV does for a plain read (AdaCLIP reads .tif files so),
    or by less where `reading.bits` says that fewer bits carry values; never stretched to the image's own range, which
    would make pictures of one class incomparable. A .tif of 8 bits without alpha gives the pixels that OpenCV gives
    after BGR -> RGB. EXIF orientation is applied where `reading.exif` says so (PIL applies that of .tif files always).
    Raises UserError naming the file when it is missing, truncated, no image, of several pages, too large, or holds
    floating-point values or ones above its bits.
    """
    if is_member(path):
        return open_member(path)
    if box := tile_box(path):
        return open_image(path.parent, reading).crop(box)
    with opened(path, max_megapixels=reading.max_megapixels) as stored:
        deep = ";16" in raw_mode(stored) or stored.mode.startswith("I")
        decode(stored)
        orientation = stored.getexif().get(_ORIENTATION) if reading.exif else None
        turned = orientation in _TURNING
        image = ImageOps.exif_transpose(stored) if turned else stored.copy()
    if image.mode == "F":
        raise UserError("image holds floating-point values", where=str(path), hint="convert it to 8 or 16 bits")
    if deep:
        image = _eight_bits(image, reading.bits, path)
    if turned:
        image.info[TURNED] = orientation
    return image


def open_picture(sample: Sample) -> Image.Image:
    """Decode a sample's image as `open_image` does and, where the sample has an overlay, add that to it.

    The sum is formed in a signed type and cut to 0...255. Raises UserError for a broken file or a misfit of sizes.
    """
    image = open_image(sample.path, sample.reading)
    if sample.overlay_path is None:
        return image
    pixels = np.asarray(image.convert("RGB"))
    try:
        with np.load(sample.overlay_path, allow_pickle=False) as stored:
            overlay = stored["rgb"]
    except FileNotFoundError as error:
        raise UserError("overlay file is missing", where=f"{sample.overlay_path}, of {sample.path}") from error
    except (*BROKEN, zipfile.BadZipFile) as error:
        hint = "replace the file: it may be truncated"
        raise UserError(f"overlay file cannot be read: {error}", where=str(sample.overlay_path), hint=hint) from error
    if overlay.dtype.kind not in "iu" or overlay.shape != pixels.shape:
        raise UserError(
            f"the overlay holds {overlay.dtype} {overlay.shape} but its image is uint8 {pixels.shape}",
            where=f"{sample.overlay_path}, of image {sample.path}",
            hint="pair the overlay with its own image; it holds whole numbers under the key rgb",
        )
    return Image.fromarray((pixels.astype(np.int64) + overlay.astype(np.int64)).clip(0, 255).astype(np.uint8))


def stored_size(path: Path, reading: Reading = AS_PUBLISHED) -> tuple[int, int]:
    """Height and width of an image from its file's header. Raises UserError where it is missing or no image."""
    if is_member(path):
        image = open_member(path)
        return image.height, image.width
    if box := tile_box(path):
        left, upper, right, lower = box
        return lower - upper, right - left
    with opened(path, max_megapixels=reading.max_megapixels) as stored:
        return upright_size(stored, reading)


def upright_size(stored: Image.Image, reading: Reading) -> tuple[int, int]:
    """Height and width that an opened image will have when it is read."""
    # The decoder of TIFF gives the size as it will be, and turns the picture itself.
    turned = reading.exif and stored.format != "TIFF" and stored.getexif().get(_ORIENTATION, 1) in _SWAPPING
    return (stored.width, stored.height) if turned else (stored.height, stored.width)


def open_mask(sample: Sample, size: tuple[int, int]) -> Image.Image:
    """Return the sample's mask as an 8-bit grey image of `size` (width, height): 255 where anomalous, else 0.

    What a file's values mean is told by `read_mask` and `sample.reading`; `further_masks` are joined to it. Normal
    samples and samples without a mask file give zeros. Raises UserError for a missing or broken mask file and for a
    mask of another size than its image.
    """
    if sample.label == 0 or sample.mask_path is None:
        return Image.new("L", size)
    return Image.fromarray(marks(sample, read_masks(sample, size)).astype(np.uint8) * 255)


def marks(sample: Sample, masks: Sequence[StoredMask]) -> NDArray[np.bool_]:
    """Where any of a sample's masks marks a defect (H, W)."""
    marked = [mask.marked(sample.reading) for mask in masks]
    return marked[0] if len(marked) == 1 else np.logical_or.reduce(marked)


def read_masks(sample: Sample, size: tuple[int, int] | None) -> list[StoredMask]:
    """What a sample's mask files hold. Raises UserError for a broken one, and for one of another size than `size`."""
    masks = []
    for path in (sample.mask_path, *sample.further_masks):
        if path is not None:
            mask = read_mask(path, image=sample.path, reading=sample.reading)
            if size is not None and mask.values.shape != (size[1], size[0]):
                raise misfit(sample, path, mask.values.shape, (size[1], size[0]))
            masks.append(mask)
    return masks


def contents_of(image: Image.Image, marked: float | None) -> Contents:
    """What reading an image has shown, with the share of pixels that its mask marks."""
    orientation = image.info.get(TURNED)
    # A mask of an oblong picture that was turned on its side would not have fitted.
    turned = orientation in _TURNING and (orientation not in _SWAPPING or image.width == image.height)
    return Contents(marked, image.info.get(PEAK), turned)


def misfit(sample: Sample, mask: Path, size: tuple[int, ...], image_size: tuple[int, ...]) -> UserError:
    """The error for a mask of `size` (height, width) of an image whose own size is another: it names the reason."""
    what = f"mask is {size[1]}x{size[0]} pixels but its image {image_size[1]}x{image_size[0]}"
    hint = "pair the image with its own mask, or save the mask at the image's size"
    if (size[1], size[0]) == (image_size[0], image_size[1]):
        what += ": width and height are swapped"
        hint = "turn the mask by 90 degrees, as its image is"
        orientation = _orientation(sample.path)
        if orientation in _SWAPPING and sample.reading.exif:
            what += f" by the image's EXIF orientation {orientation}, which the mask does not have"
            hint = "draw the mask on the upright picture, or say data.exif=false where masks fit the pixels as stored"
        elif orientation in _SWAPPING:
            what += f"; the image has EXIF orientation {orientation}, and its mask is drawn on the turned picture"
            hint = "save the image upright without EXIF, or, in a folder of your own, say data.exif=true"
    return UserError(what, where=f"{mask}, of image {sample.path}", hint=hint)


def _orientation(path: Path) -> int:
    """The EXIF orientation of an image file; 1 where it has none, or is no such file."""
    try:
        with opened(path, max_megapixels=math.inf) as stored:
            return int(stored.getexif().get(_ORIENTATION, 1))
    except UserError:  # said where the image is read
        return 1


def _eight_bits(image: Image.Image, bits: int, path: Path) -> Image.Image:
    """The upper 8 of `bits` bits of an image whose file has 16."""
    if not image.mode.startswith("I"):  # colours: PIL has already kept the upper 8 of 16 bits
        if bits != 16:
            what = f"16-bit colour images cannot be read as {bits} bits"
            raise UserError(what, where=f"data.bits, {path}", hint="say data.bits=16, or convert them to 8 bits")
        image.info[PEAK] = max(high for _, high in _extrema(image)) / 255
        return image
    values = np.asarray(image)
    largest, most = int(values.max(initial=0)), 2**bits - 1
    if largest > most or values.min(initial=0) < 0:
        what = f"image holds the value {largest if largest > most else values.min()}, and {bits} bits end at {most}"
        raise UserError(what, where=str(path), hint="convert it, or say data.bits=16")
    reduced = Image.fromarray((values >> (bits - 8)).astype(np.uint8))
    reduced.info[PEAK] = largest / most
    return reduced


def _extrema(image: Image.Image) -> list[tuple[float, float]]:
    extrema = image.getextrema()
    return [extrema] if isinstance(extrema[0], (int, float)) else list(extrema)
