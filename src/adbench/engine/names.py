"""File names made of the names of classes, data sets and images: unique, bounded, the same on every system."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

MAX_BYTES = 100
"""Longest name: room for a number and an ending below the 143 bytes that encrypted home folders allow."""
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(\..*)?", re.IGNORECASE)
# Names that end like a file, or as if they were marked already, are marked too: so no two can meet.
_AMBIGUOUS = re.compile(r".*(\.[a-z]+|-[0-9a-f]{8})", re.IGNORECASE | re.DOTALL)


def file_name(text: str) -> str:
    """`text` itself where every system takes it as a name, else what is left of it with a hash of it behind.

    Different texts give different names; on disks that ignore case, `file_names` keeps them apart.
    """
    plain = "".join(c if _is_plain(c) else "_" for c in unicodedata.normalize("NFC", text))
    plain = re.sub(r"^[.\- ]|[. ]$", "_", plain)
    changed = plain != text or not plain or len(plain.encode()) > MAX_BYTES
    return _marked(plain, text) if changed or _DEVICES.fullmatch(plain) or _AMBIGUOUS.fullmatch(plain) else plain


def file_names(texts: Iterable[str]) -> dict[str, str]:
    """`file_name` of each text; of those that differ in case alone, all but the first carry a hash."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for text in dict.fromkeys(texts):
        name = file_name(text)
        if name.casefold() in taken:
            name = _marked(name, text)
        taken.add(name.casefold())
        names[text] = name
    return names


def _is_plain(character: str) -> bool:
    if character in '<>:"/\\|?*':
        return False
    return character == " " or unicodedata.category(character)[0] not in "CZ"


def _marked(name: str, text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    room = MAX_BYTES - len(digest) - 1
    # A letter is never cut in two, and what stands before the hash is never an ending.
    head = name.encode()[:room].decode("utf-8", "ignore").rstrip(". ")
    return f"{head or '_'}-{digest}"
