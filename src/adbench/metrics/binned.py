"""Pixel scores counted in 2^20 bins: constant memory, approximate, with bounds on the error. On request only.

A bin is one value of the upper 20 order-preserving bits of a float32 (sign, exponent, 11 bits of mantissa), so its
width is at most 1/2048 of the score itself and scores near 0 stay apart. Linear bins do not do that: softmax maps pile
up near 0, and linear bins were off by 0.02 to 0.35 AUROC.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from adbench.metrics.inputs import Scores
from adbench.metrics.ordering import from_ordered_bits, ordered_bits
from adbench.metrics.ranking import Counts, Curve, after

N_BINS = 1 << 20
BLOCK = 1 << 16  # bins per stretch of the curve, so that a result needs little more memory than the counts
_DROPPED_BITS = np.uint32(12)


def bins(scores: Scores) -> NDArray[np.uint32]:
    """Return the bin of each score, in the order of the scores (rounding float64 to float32 keeps the order, too)."""
    with np.errstate(over="ignore"):
        bits = ordered_bits(scores.astype(np.float32, copy=False))
    bits >>= _DROPPED_BITS
    return bits


class BinnedPixels:
    """Counts of normal and anomalous pixels per bin (8 MiB each) and the sum of 1 / region area (8 MiB)."""

    def __init__(self) -> None:
        self.negatives = np.zeros(N_BINS, np.int64)
        self.positives = np.zeros(N_BINS, np.int64)
        self.coverage = np.zeros(N_BINS, np.float64)
        self.n_regions = 0

    def add(self, negatives: Scores, positives: Scores, areas: NDArray[np.uint32], n_regions: int) -> None:
        """Count normal scores (N,) and anomalous scores (P,), each with the area of its region."""
        _count(negatives, self.negatives)
        _count(positives, self.positives)
        np.add.at(self.coverage, bins(positives), 1.0 / areas)
        self.n_regions += n_regions

    def merge(self, other: BinnedPixels) -> None:
        """Add the counts of `other`, which stays as it is."""
        self.negatives += other.negatives
        self.positives += other.positives
        self.coverage += other.coverage
        self.n_regions += other.n_regions

    def stretches(self) -> Iterator[Curve]:
        """Yield the curve of the binned scores; nothing if there are no normal or no anomalous pixels."""
        n_positives, n_negatives = int(self.positives.sum()), int(self.negatives.sum())
        if not n_positives or not n_negatives:
            return
        hits, alarms, coverage = 0, 0, 0.0  # at the last point of the curve
        alarms_so_far = 0
        for stop in range(N_BINS, 0, -BLOCK):
            block = slice(stop - BLOCK, stop)
            counts, negatives = self.positives[block][::-1], self.negatives[block][::-1]
            points = np.flatnonzero(counts)
            at_or_above = alarms_so_far + np.cumsum(negatives)
            alarms_so_far = int(at_or_above[-1])
            if not len(points):
                continue
            part = Curve(
                hits=after(hits, hits + np.cumsum(counts[points])),
                alarms=after(alarms, at_or_above[points]),
                alarms_above=at_or_above[points] - negatives[points],
                n_positives=n_positives,
                n_negatives=n_negatives,
                coverage=after(coverage, coverage + np.cumsum(self.coverage[block][::-1][points]) / self.n_regions),
                thresholds=_lower_edges(stop - 1 - points),
            )
            yield part
            hits, alarms = int(part.hits[-1]), int(part.alarms[-1])
            coverage = float(part.coverage[-1]) if part.coverage is not None else 0.0


def _lower_edges(numbers: Counts) -> Scores:
    """Return the lowest score of each bin; that of the lowest infinity is itself, below which lie no numbers."""
    edges = from_ordered_bits(numbers.astype(np.uint32) << _DROPPED_BITS)
    return np.where(np.isnan(edges), np.float32(-np.inf), edges)


def _count(scores: Scores, counts: Counts) -> None:
    """Add scores (N,) to `counts`. Sorting (SIMD) costs less time and memory than a bincount as long as `counts`."""
    if not len(scores):
        return
    ordered = bins(scores)
    ordered.sort()
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    counts[ordered[ends]] += np.diff(ends, prepend=-1)
