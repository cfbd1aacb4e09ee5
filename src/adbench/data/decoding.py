"""Opening an image file: a PIL image of known size and one picture, or a UserError that says what the file is instead.

Everything that opens image, mask and label files of a data set goes through `opened`. Nothing that lies on a disk under
an image's name makes it hang or fail otherwise: no FIFO, no web page, no file that was cut short.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from adbench.errors import UserError

# What PIL and its codecs raise on files that are cut short, garbled or not images at all.
BROKEN = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, struct.error, zlib.error, Image.DecompressionBombError),
)
_LIMIT = math.inf if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS  # Pillow's own: 179 megapixels
_LOCK = threading.Lock()
_NO_FILE = {
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
# PIL tells formats by content and knows some that run other programs (PostScript): only pictures are let in.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "MPO", "DIB", "JPEG2000", "AVIF")
_TRUNCATED = "replace the file: it may be truncated"
# Pictures above half the limit are read like all others: the size is checked here.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@contextlib.contextmanager
def opened(
    path: Path, kind: str = "image", *, of: Path | None = None, max_megapixels: float | None = None
) -> Iterator[Image.Image]:
    """Yield the file's only picture, not decoded yet; what decoding raises inside becomes a UserError too.

    `kind` and `of` (the image that a mask belongs to) are named in the errors: for a file that is missing, no regular
    file, broken, of another kind, of several pictures or pages, or above `max_megapixels` (None: Pillow's bound).
    """
    where = f"{path}, of image {of}" if of is not None else str(path)
    try:
        require_regular(path, kind, where)
        with _open(path) as image:
            _require_size(image, kind, where, max_megapixels)
            # Phones write a preview or a map of depth behind the picture of an MPO file.
            if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
                hint = "save the one that is meant as a file of its own"
                raise UserError(f"{kind} file holds {frames} pictures (pages or frames)", where=where, hint=hint)
            yield image
    except FileNotFoundError as error:
        target = f": it is a link to {os.readlink(path)}, which is not there" if path.is_symlink() else ""
        hint = "restore it or index the folder again"
        raise UserError(f"{kind} file is missing{target}", where=where, hint=hint) from error
    except BROKEN as error:
        what, hint = _diagnosis(path, error)
        raise UserError(f"{kind} file cannot be read: {what}", where=where, hint=hint) from error


def require_regular(path: Path, kind: str = "image", where: str = "") -> None:
    """Raise UserError for a FIFO, socket, device or folder, which one might wait for; OSError for a missing file."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        what = _NO_FILE.get(stat.S_IFMT(mode), "something else")
        hint = "remove it, or put the file in its place"
        raise UserError(f"{kind} file is not a file but {what}", where=where or str(path), hint=hint)


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=_known_formats())
    except Image.DecompressionBombError:
        with _unguarded():
            return Image.open(path, formats=_known_formats())


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def decode(image: Image.Image) -> None:
    """Decode a picture that `opened` has yielded. The decoder of TIFF asks Pillow's guard once more."""
    if image.width * image.height <= _LIMIT:
        image.load()
    else:
        with _unguarded():
            image.load()


def raw_mode(image: Image.Image) -> str:
    """How the pixels of a file that is not decoded yet are stored, in PIL's words; "" where PIL does not say."""
    tiles = getattr(image, "tile", None)
    told = tiles[0][3] if tiles else ""
    return str(told[0] if isinstance(told, tuple) and told else told)


@contextlib.contextmanager
def _unguarded() -> Iterator[None]:
    """Without Pillow's guard, which is one variable for all threads: `_require_size` looks at every picture."""
    with _LOCK:
        guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = guard


def _require_size(image: Image.Image, kind: str, where: str, max_megapixels: float | None) -> None:
    limit = _LIMIT if max_megapixels is None else max_megapixels * 1_000_000
    n_pixels = image.width * image.height
    if n_pixels > limit:
        size = f"{image.width}x{image.height} pixels, {n_pixels / 1e6:.1f} megapixels"
        enough = f"if it is meant, say data.max_pixels={math.ceil(n_pixels / 1e6)}"
        raise UserError(
            f"{kind} is {size}, and {limit / 1e6:.0f} are allowed",
            where=where,
            hint="save it smaller or in pieces" if max_megapixels is None else enough,
        )


def _diagnosis(path: Path, error: BaseException) -> tuple[str, str]:
    """What is wrong with a file that cannot be read, and the cure."""
    if isinstance(error, OSError) and error.errno is not None:
        return str(error.strerror), "check the file's permissions and its disk"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is", "save it smaller or in pieces"
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except OSError as failure:
        return str(failure.strerror), "check the file's permissions and its disk"
    if not head:
        return "it is empty (0 bytes)", "restore it, or unpack the archive again"
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "it is a Git LFS pointer, not the file itself", "run git lfs pull in its repository"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page", "get the file itself: the page says what the server wants first"
    if isinstance(error, UnidentifiedImageError):
        return (
            "it is no image of a known format (PNG, JPEG, TIFF, BMP, WebP, GIF, PPM), or its beginning is damaged",
            _TRUNCATED,
        )
    return str(error) or type(error).__name__, _TRUNCATED
