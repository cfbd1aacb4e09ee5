"""Normal forms of file names, for pairing alone: files are opened by the names that they have on disk."""

from __future__ import annotations

import os
import re
import unicodedata

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".pnm"}
    | {".avif", ".jp2"}
)
_UNREAD_SUFFIXES = frozenset(
    {".heic", ".heif", ".hif", ".jxl", ".tga", ".pcx", ".psd", ".exr", ".hdr", ".dcm", ".dng", ".cr2", ".cr3", ".nef"}
    | {".arw", ".raf", ".orf", ".rw2"}
)
_WORD = r"(?:masks?|labels?|gt|ground[-_. ]?truth|segmentation|seg|annotations?)"
_AS_SUFFIX = re.compile(rf"(.+?)[-_. ]{_WORD}(?:[-_. ]?(\d+))?")
_AS_PREFIX = re.compile(rf"{_WORD}[-_. ]+(.+)")
_TOKEN = re.compile(r"\d+|[^\W\d_]+|[^\w\s.-]")


def composed(name: str) -> str:
    """The name with each accented letter as one character (NFC); a Mac's disk may have two."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """The name composed (NFC), without case: equal for names that a Mac or Windows takes for one."""
    return composed(name).casefold()


def plain(name: str) -> str:
    """The name without case, blanks, `_` and `-`: how names of folders are compared."""
    return re.sub(r"[-_\s]", "", folded(name))


def exact(name: str) -> str:
    """The name without its extension."""
    return os.path.splitext(name)[0] if is_image(name) else name


def bare(name: str) -> str:
    """`folded` without surrounding blanks and all trailing extensions of images (`001.png.png`)."""
    stem = folded(name).strip()
    while is_image(stem):
        stem = os.path.splitext(stem)[0].strip()
    return stem


def without_word(name: str) -> tuple[str, str]:
    """`bare` without one known word for masks, and the number behind the word: ("7", "2") for `7_mask_2.png`.

    The words (mask, label, gt, groundtruth, segmentation, ...) are joined by `_`, `-`, `.` or a blank. A name without
    one is returned whole, with "".
    """
    stem = bare(name)
    if match := _AS_SUFFIX.fullmatch(stem):
        return bare(match[1]), match[2] or ""
    if match := _AS_PREFIX.fullmatch(stem):
        return bare(match[1]), ""
    return stem, ""


def joined(stem: str) -> str:
    """A stem in which `-`, `_` and blanks are alike."""
    return re.sub(r"[-_\s]", "_", stem)


def numbered(stem: str) -> str:
    """`joined`, with runs of digits read as numbers: padding with zeros does not count."""
    return re.sub(r"\d+", lambda run: str(int(run[0])), joined(stem))


def tokens(stem: str) -> tuple[str, ...]:
    """Words and numbers of a stem, without what separates them."""
    return tuple(_TOKEN.findall(numbered(stem)))


def is_image(name: str) -> bool:
    """Whether the name ends as those of image files do."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_unread_picture(name: str) -> bool:
    """Whether the name ends as those of pictures do that are not read: of phones, cameras and image editors."""
    return os.path.splitext(name)[1].lower() in _UNREAD_SUFFIXES
