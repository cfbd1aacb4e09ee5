"""Connected regions of masks, for the per-region overlap (PRO): only their areas are needed.

A region is an 8-connected component of the anomalous pixels of one mask. PRO(t) is the mean over all regions of all
images of (region pixels with score >= t) / area, so a pixel weighs 1 / (its region's area x number of regions).
Source: Bergmann et al., MVTec AD (IJCV 2021), section 5.1, and the evaluation code published with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adbench.metrics.inputs import Mask


class Regions(NamedTuple):
    """The anomalous pixels of a stack of masks, in scan order, and the size of the region each belongs to."""

    pixels: NDArray[np.int64]  # (P,) flat indices into the stack
    areas: NDArray[np.uint32]  # (P,) pixels in the region of each
    n_regions: int


def find_regions(masks: Mask) -> Regions:
    """Find the 8-connected regions of masks (B, H, W) from their horizontal runs, all images at once.

    Linear in the number of anomalous pixels: labelling every pixel of every image costs more than all the metrics do.
    """
    height, width = masks.shape[1:]
    pixels = np.flatnonzero(masks)
    if not len(pixels):
        return Regions(pixels, np.zeros(0, np.uint32), 0)
    new = np.ones(len(pixels), np.bool_)
    new[1:] = (np.diff(pixels) != 1) | (pixels[1:] % width == 0)
    starts = np.flatnonzero(new)
    lengths = np.diff(np.append(starts, len(pixels)))
    row, column = np.divmod(pixels[starts], width)
    # two spare columns keep rows apart, a spare row keeps images apart
    stride = width + 2
    first = (row + row // height) * stride + column
    last = first + lengths - 1
    # runs of the row below that touch this one, corners included
    low = np.searchsorted(last, first + stride - 1, "left")
    high = np.searchsorted(first, last + stride + 1, "right")
    touching = high - low
    before = np.cumsum(touching) - touching
    below = np.arange(touching.sum()) + np.repeat(low - before, touching)
    region = _first_of_component(len(starts), np.repeat(np.arange(len(starts)), touching), below)
    areas = np.bincount(region, weights=lengths).astype(np.uint32)
    return Regions(pixels, np.repeat(areas[region], lengths), int(np.count_nonzero(areas)))


def _first_of_component(n: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of n nodes the lowest number in its component, where edges join `one` to `other`.

    A few lines for what SciPy's graphs do, which take a third of a second to import.
    """
    first = np.arange(n)
    while len(one):
        low, high = np.minimum(first[one], first[other]), np.maximum(first[one], first[other])
        np.minimum.at(first, high, low)
        while not np.array_equal(first, first[first]):
            first = first[first]
        apart = first[one] != first[other]
        one, other = one[apart], other[apart]
    return first
