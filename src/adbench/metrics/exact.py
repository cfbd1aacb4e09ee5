"""Every pixel score of a class, kept so that each metric is exact: what `PixelMetrics(mode="exact")` accumulates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench.metrics.binned import BinnedPixels
from adbench.metrics.inputs import Scores
from adbench.metrics.ordering import from_ordered_bits, ordered_bits
from adbench.metrics.ranking import Curve, Reals, after
from adbench.metrics.store import ScoreStore

STRETCH = 1 << 20  # distinct positive scores per stretch of the curve: bounds the memory of a result
_AREA_BITS = np.uint64(32)


class ExactPixels:
    """Normal pixels as sorted shards (4 bytes each, on disk above a limit), anomalous ones in memory (8 bytes each).

    An anomalous pixel carries its region's area, not the region's number: equal collections of pixels then sort into
    equal arrays, and results are bit-equal however the images were split, ordered or merged.
    """

    def __init__(self, memory_limit: int) -> None:
        self.negatives = ScoreStore(memory_limit)
        self.n_regions = self.n_positives = 0
        self._positives: list[Scores] = []
        self._areas: list[NDArray[np.uint32]] = []

    def add(self, negatives: Scores, positives: Scores, areas: NDArray[np.uint32], n_regions: int) -> None:
        """Take over normal scores (N,) and anomalous scores (P,), each with the area of its region."""
        self.negatives.add(negatives)  # copies
        self.n_regions += n_regions
        self.n_positives += len(positives)
        if len(positives):
            self._positives.append(positives)
            self._areas.append(areas)

    def merge(self, other: ExactPixels) -> None:
        """Add the pixels of `other`, which stays as it is."""
        self.negatives.merge(other.negatives)
        self.n_regions += other.n_regions
        self.n_positives += other.n_positives
        self._positives += other._positives
        self._areas += other._areas

    @property
    def n_bytes(self) -> int:
        """What the scores take in memory and on disk: 4 bytes a normal pixel, 8 an anomalous one."""
        return 4 * self.negatives.size + 8 * self.n_positives

    def binned(self) -> BinnedPixels:
        """The same pixels counted in bins."""
        pixels = BinnedPixels()
        for scores in self.negatives.slices(STRETCH):
            pixels.add(scores, scores[:0], np.zeros(0, np.uint32), 0)
        for scores, areas in zip(self._positives, self._areas, strict=True):
            pixels.add(scores[:0], scores, areas, 0)
        pixels.n_regions = self.n_regions
        return pixels

    def stretches(self) -> Iterator[Curve]:
        """Yield the curve in stretches; nothing if there are no normal or no anomalous pixels."""
        scores, areas = self._ranked()
        n_negatives = self.negatives.size
        if not len(scores) or not n_negatives:
            return
        # the last of each group of equal scores
        ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
        begin, alarms, coverage = 0, 0, 0.0
        for i in range(0, len(ends), STRETCH):
            points = ends[i : i + STRETCH]
            stop = int(points[-1]) + 1
            above, at_or_above = self.negatives.count(scores[points])
            covered = coverage + np.cumsum(1.0 / areas[begin:stop])[points - begin] / self.n_regions
            yield Curve(
                hits=after(begin, points + 1),
                alarms=after(alarms, at_or_above),
                alarms_above=above,
                n_positives=len(scores),
                n_negatives=n_negatives,
                coverage=after(coverage, covered),
                thresholds=scores[points],
            )
            begin, alarms, coverage = stop, int(at_or_above[-1]), float(covered[-1])

    def above(self, thresholds: Scores) -> tuple[Reals, Reals]:
        """Return FPR and PRO of the pixels strictly above each threshold; NaN without normal pixels or regions."""
        scores, areas = self._ranked()
        covered = np.append(0.0, np.cumsum(1.0 / areas))
        n_hits = len(scores) - np.searchsorted(scores[::-1], thresholds, "right")
        with np.errstate(invalid="ignore"):
            return (
                self.negatives.count(thresholds)[0] / np.float64(self.negatives.size),
                covered[n_hits] / np.float64(self.n_regions),
            )

    def span(self) -> tuple[Any, Any]:
        """Return the lowest and the highest pixel score as scalars of the scores' own type; (inf, -inf) if none."""
        low, high = self.negatives.span()
        scores, _ = self._ranked()
        if len(scores):
            low, high = min(low, float(scores[-1])), max(high, float(scores[0]))
        dtype = np.result_type(scores.dtype, self.negatives.dtype()).type
        return dtype(low), dtype(high)

    def _ranked(self) -> tuple[Scores, NDArray[np.uint32]]:
        """Sort the anomalous pixels by falling score, then by area."""
        if not self._positives:
            return np.zeros(0, np.float32), np.zeros(0, np.uint32)
        if all(scores.dtype == np.float32 for scores in self._positives):
            # one 64-bit key per pixel: NumPy sorts integers with SIMD, far faster than it can argsort
            keys = np.empty(sum(map(len, self._positives)), np.uint64)
            start = 0
            for scores, areas in zip(self._positives, self._areas, strict=True):  # image by image: in the cache
                part = keys[start : start + len(scores)]
                part[:] = ~ordered_bits(scores)
                part <<= _AREA_BITS
                part |= areas
                start += len(scores)
            keys.sort()
            areas = keys.astype(np.uint32)
            keys >>= _AREA_BITS
            scores = from_ordered_bits(~keys.astype(np.uint32))
        else:
            scores, areas = np.concatenate(self._positives), np.concatenate(self._areas)
            order = np.lexsort((areas, -scores))
            scores, areas = scores[order], areas[order]
        self._positives, self._areas = [scores], [areas]
        return scores, areas
