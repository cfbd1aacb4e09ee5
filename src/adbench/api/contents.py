"""What pictures hold, as hashes: which were given twice, and which a detector has seen already."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.containers import content_sha256
from adbench.data.sample import Sample
from adbench.data.support import listing_sha256
from adbench.engine.weights import WeightsRecord
from adbench.engine.zero_shot import find_overlap
from adbench.errors import UserError

Picture = str | Path | Image.Image | NDArray[np.uint8]
"""A file, a PIL image, or an array (H, W, 3) of uint8, red first."""


def picture_sha256(picture: Picture) -> str:
    """Of a file's bytes, else of the pixels. Raises UserError for a missing file."""
    if isinstance(picture, (str, Path)):
        return content_sha256(Path(picture).expanduser())
    pixels = np.ascontiguousarray(picture)
    return hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode() + pixels.tobytes()).hexdigest()


def support_sha256(support: Sequence[Picture] | None) -> str | None:
    """Over support pictures in any order; None without any."""
    return None if support is None else listing_sha256(sorted(map(picture_sha256, support)))


def distinct(pictures: Sequence[Picture]) -> dict[str, Picture]:
    """The pictures by what they hold: copies count once."""
    by_content: dict[str, Picture] = {}
    for picture in pictures:
        by_content.setdefault(picture_sha256(picture), picture)
    return by_content


def require_unseen(
    pictures: dict[str, Picture], record: WeightsRecord | None, support: Sequence[Picture] | None
) -> None:
    """Raise UserError for pictures, by hash, that are support or were trained on, as far as that is known.

    What was fitted has too low a score: a threshold from it promises nothing.
    """
    fitted = [] if record is None or record.adaptation is None else record.adaptation["supports"]
    used = set(map(picture_sha256, support or ())) | {
        sha256 for support_set in fitted for sha256 in support_set["sha256"]
    }
    seen = [picture for sha256, picture in pictures.items() if sha256 in used]
    if seen:
        raise _leak(len(seen), "support pictures of the detector", str(_named(seen[0])))
    files = [Path(picture).expanduser() for picture in pictures.values() if isinstance(picture, (str, Path))]
    samples = [Sample(file, str(file), "", label=0, mask_path=None, split="", defect="", dataset="") for file in files]
    trained = find_overlap(record, samples).trained
    if n_trained := sum(trained.values()):
        raise _leak(n_trained, "pictures that the weights were trained on", f"among {len(files)} files")


def _named(picture: Picture) -> str:
    return str(picture) if isinstance(picture, (str, Path)) else "a picture in memory"


def _leak(n: int, what: str, where: str) -> UserError:
    hint = "calibrate on normal pictures that the detector has never seen: it scores those that it has too low"
    return UserError(f"{n} of the calibration pictures {'is' if n == 1 else 'are'} {what}", where=where, hint=hint)
