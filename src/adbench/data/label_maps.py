"""Label maps: pictures whose values are class numbers. Values are read as they are stored, never as colours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.decoding import decode, opened, raw_mode
from adbench.data.sample import Sample
from adbench.errors import UserError

IGNORE = 255
_N_IDS = 256
# PIL stretches grey values of 2 and 4 bits to 8 by these factors; 1 bit becomes a boolean.
_STRETCHED = {"L;2": 85, "L;4": 17}


def open_labels(sample: Sample, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the label map (height, width) of a sample for an image of `size` (width, height).

    Stored ids are the palette's indices or, of several channels, the first; `sample.label_ids` turns them into values.
    Raises UserError naming the file for one that is missing or broken, for another size than the image's, and for an
    id that the data set does not know. The sample must have a label map.
    """
    if sample.mask_path is None or sample.label_ids is None:
        raise ValueError(f"sample {sample.key} has no label map")
    where = f"{sample.mask_path}, of image {sample.path}"
    with opened(sample.mask_path, "label", of=sample.path) as file:
        stored = _ids(file)
    height, width = stored.shape
    if (width, height) != size:
        raise UserError(
            f"the label map is {width}x{height} pixels but its image {size[0]}x{size[1]}",
            where=where,
            hint="pair the image with its own labels, at the image's size",
        )
    return _mapped(stored, sample.label_ids, where)


def _ids(file: Image.Image) -> NDArray[np.int64]:
    """Stored ids (H, W)."""
    stretched = _STRETCHED.get(raw_mode(file), 1)
    if file.mode == "F":
        raise ValueError("it holds floating-point values")
    decode(file)
    values = np.asarray(file)
    ids: NDArray[np.int64] = (values if values.ndim == 2 else values[..., 0]).astype(np.int64)
    return ids // stretched


def _mapped(stored: NDArray[np.int64], label_ids: Mapping[int, int], where: str) -> NDArray[np.uint8]:
    table = np.full(_N_IDS, -1, np.int64)
    table[list(label_ids)] = list(label_ids.values())
    inside = (stored >= 0) & (stored < _N_IDS)
    values = np.where(inside, table[stored.clip(0, _N_IDS - 1)], -1)
    if values.min() < 0:
        strange = np.unique(stored[values < 0])
        raise UserError(
            f"the label map holds the unexpected value {', '.join(map(str, strange[:4]))}",
            where=where,
            hint=f"values of this data set: {', '.join(map(str, sorted(label_ids)))}",
        )
    return values.astype(np.uint8)
