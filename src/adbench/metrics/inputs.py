"""What the metrics accept, checked at the door: anything `numpy.asarray` takes; bad input raises a `UserError`.

Scores keep their value exactly: float32 where that holds it, else float64 (never the other way round, so no new ties
appear). NaN is refused, infinities are ordinary scores, -0.0 equals 0.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adbench.errors import UserError

Scores = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Maps = ArrayLike  # (B, H, W), or a list of (H, W)
Labels = NDArray[np.uint8]  # of road scenes: 0 normal, 1 anomalous, 255 unknown
Masks = Any  # (B, H, W), or a list of (H, W) with None for images without a mask, or None

IGNORED = 255


def as_scores(values: ArrayLike, where: str) -> Scores:
    """Return `values` as float32 where that is exact, else as float64; no copy if they are float32 already."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise UserError(f"scores of type {array.dtype}", where=where, hint="pass real numbers")
    if array.dtype == np.float32:
        scores: Scores = array
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            single = array.astype(np.float32)
            exact = np.array_equal(single, array, equal_nan=array.dtype.kind == "f")
        scores = single if exact else array.astype(np.float64)
    if scores.size and np.isnan(scores.max()):  # max hands NaN on and is far cheaper than isnan over every pixel
        raise UserError(
            f"{np.count_nonzero(np.isnan(scores))} of {scores.size} scores are NaN",
            where=f"{where}, first at index {tuple(int(i) for i in np.argwhere(np.isnan(scores))[0])}",
            hint="a method must give a number for every image and pixel; look for a division by zero or an overflow",
        )
    return scores


def as_binary(values: ArrayLike, where: str) -> Mask:
    """Return 0/1 (or boolean) `values` as booleans; anything between or beyond is an error, never a threshold."""
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array
    binary = array.astype(np.bool_) if array.dtype.kind in "fiu" else None
    if binary is None or not np.array_equal(binary, array):
        raise UserError("labels or mask values other than 0 and 1", where=where, hint="threshold them first, e.g. > 0")
    return binary


def scored_images(maps: Maps, masks: Masks) -> Iterator[tuple[Scores, Mask]]:
    """Yield (maps, masks) pairs, both (B, H, W): a whole stack at once, or one image at a time from lists.

    A missing mask (None for the batch, or in the list) means that no pixel is anomalous, as for normal images.
    """
    if not isinstance(maps, (list, tuple)) and not isinstance(masks, (list, tuple)):
        yield _pair(as_scores(maps, "maps"), masks, "")
        return
    images = list(maps) if isinstance(maps, (list, tuple)) else list(np.asarray(maps))
    given = [None] * len(images) if masks is None else list(masks)
    if len(given) != len(images):
        raise UserError(f"{len(images)} maps but {len(given)} masks", hint="pass one mask per map")
    for i, (values, mask) in enumerate(zip(images, given, strict=True)):
        scores = as_scores(values, f"map {i}")
        yield _pair(scores[None], None if mask is None else np.asarray(mask)[None], f" {i}")


def as_labels(values: ArrayLike, where: str) -> Labels:
    """Return labels of 0, 1 and 255 (or boolean ones) as uint8; anything else is an error."""
    array = np.asarray(values)
    if array.dtype.kind in "fiub":
        with np.errstate(invalid="ignore"):
            labels = array.astype(np.uint8)
        if np.array_equal(labels, array) and not np.any((labels > 1) & (labels != IGNORED)):
            return labels
    raise UserError(
        "labels other than 0, 1 and 255", where=where, hint="0 is normal, 1 anomalous, 255 is left out of the metrics"
    )


def labelled_images(
    maps: ArrayLike | Sequence[ArrayLike], labels: ArrayLike | Sequence[ArrayLike]
) -> Iterator[tuple[Scores, Labels]]:
    """Yield scores (H, W) and labels (H, W) of one image after the other, from stacks (B, H, W) or lists of (H, W).

    Scores of ignored pixels are not looked at: they may be NaN.
    """
    images, given = list(np.asarray(maps) if not isinstance(maps, (list, tuple)) else maps), list(labels)  # type: ignore[arg-type]
    if len(images) != len(given):
        raise UserError(f"{len(images)} maps but {len(given)} label maps", hint="pass one label map per map")
    for i, (values, label) in enumerate(zip(images, given, strict=True)):
        known = as_labels(label, f"labels {i}")
        scores = np.asarray(values)
        if scores.ndim != 2 or scores.shape != known.shape:
            raise UserError(
                f"a label map of shape {known.shape} for a map of shape {scores.shape}",
                where=f"map {i}",
                hint="pass (B, H, W), or lists of (H, W); resize the map to the labels, never the labels",
            )
        yield as_scores(np.where(known == IGNORED, scores.dtype.type(0), scores), f"map {i}"), known


def _pair(scores: Scores, mask: ArrayLike | None, which: str) -> tuple[Scores, Mask]:
    if scores.ndim != 3:
        raise UserError(
            f"maps of shape {scores.shape}", where=f"map{which}", hint="pass (B, H, W), or a list of (H, W) arrays"
        )
    if mask is None:
        return scores, np.zeros(scores.shape, np.bool_)
    binary = as_binary(mask, f"mask{which}")
    if binary.shape != scores.shape:
        raise UserError(
            f"a mask of shape {binary.shape} for a map of shape {scores.shape}",
            where=f"mask{which}",
            hint="resize the map to the mask, or the mask to the map, before the update",
        )
    return scores, binary
