"""AUPIMO: mean recall inside each anomalous image over a range of very low false-positive rates, on a log axis.

A pixel is positive iff score >= t; an image is anomalous iff its mask marks a pixel.
    F(t)      mean over the *normal* images of the share of positive pixels in each
    T_i(t)    share of the anomalous image i's marked pixels that are positive
    AUPIMO_i  1 / ln(U / L) x integral of T_i over ln F from ln L to ln U;  L = 1e-5, U = 1e-4
The figure of a class is the mean over its anomalous images.
Source: Bertoldo et al., AUPIMO, BMVC 2024 (arXiv 2401.01984), and the code published with it.

official  300,000 thresholds at equal distances over the normal images' scores; of them those from the nearest to F = U
          to the nearest to F = L; divided by the nominal range, clipped to [0, 1]
exact     every normal score is a threshold; straight lines over ln F between them, cut at the bounds. The limit of the
          official form for many thresholds, without its trouble with outliers and bounds out of reach
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from adbench.errors import UserError
from adbench.metrics.inputs import Maps, Masks, Scores, scored_images
from adbench.metrics.metric import Metric
from adbench.metrics.ranking import Counts, Reals
from adbench.metrics.store import ScoreStore

BOUNDS = (1e-5, 1e-4)
N_THRESHOLDS = 300_000
FEWEST_POINTS, FEW_POINTS = 30, 300  # up to the first the authors' code refuses, below the second it warns


class Grid(NamedTuple):
    """The thresholds of the official form between its bounds, rising, and the shared FPR at each, falling."""

    thresholds: Scores  # (n,)
    fprs: Reals  # (n,)


class AupimoMetrics:
    """Accumulate maps and masks, then `compute` pixel_aupimo and pixel_aupimo_exact.

    bounds        L and U, shared false-positive rates, 0 < L < U <= 1
    n_thresholds  of the official form
    memory_limit  bytes of normal images' scores in memory (4 per pixel; beyond it in temporary files); scores
                  inside masks stay in memory
    Results do not depend on batches, on the order of images or on how they were split before merging.
    """

    def __init__(
        self,
        *,
        bounds: tuple[float, float] = BOUNDS,
        n_thresholds: int = N_THRESHOLDS,
        memory_limit: int = 4 << 30,
    ) -> None:
        if not 0 < bounds[0] < bounds[1] <= 1:
            raise UserError(f"the bounds of AUPIMO are {bounds}", hint="give two rates, 0 < lower < upper <= 1")
        if n_thresholds < 2:
            raise UserError(f"n_thresholds={n_thresholds} of AUPIMO", hint="give 2 or more")
        self.bounds, self.n_thresholds = bounds, n_thresholds
        self.memory_limit = memory_limit
        self._normal: dict[int, ScoreStore] = {}  # by the number of pixels of an image
        self._marked: list[Scores] = []  # of each anomalous image, sorted
        self._grid: Grid | None = None  # what `grid` has found, until more comes in

    def update(self, maps: Maps, masks: Masks = None) -> AupimoMetrics:
        """Add maps (B, H, W) and 0/1 masks (B, H, W), or lists of (H, W); a missing mask means a normal image."""
        for scores, mask in [*scored_images(maps, masks)]:  # all are checked before the first is taken in
            for image, marked in zip(scores, mask, strict=True):
                if marked.any():
                    self._marked.append(np.sort(image[marked]))
                elif image.size:
                    self._add_normal(image.size, image.reshape(-1))
        return self

    def merge(self, other: AupimoMetrics) -> AupimoMetrics:
        """Add what `other` holds (of another process, say); `other` stays as it is."""
        self._grid = None
        for size, store in other._normal.items():
            self._normal.setdefault(size, ScoreStore(self.memory_limit)).merge(store)
        self._marked += other._marked
        return self

    def compute(self) -> dict[str, float]:
        """Return both forms in [0, 1], means over the anomalous images; NaN where undefined: `reason` says why."""
        if self._undefined() is not None:
            return {"pixel_aupimo": math.nan, "pixel_aupimo_exact": math.nan}
        official = math.nan if self.reason() else _mean(self.per_image())
        return {"pixel_aupimo": official, "pixel_aupimo_exact": _mean(self.per_image_exact())}

    def reason(self) -> str | None:
        """Why pixel_aupimo is undefined; None where it is not."""
        n_points = 0 if self._undefined() else len(self.grid().fprs)
        few = f"{n_points} of {self.n_thresholds} thresholds lie in the range (an outlier among normal pixels, ties)"
        return self._undefined() or (few if n_points <= FEWEST_POINTS else None)

    def notes(self) -> list[str]:
        """What a reader must know: why there is no figure, or how many pixels and which rates it rests on."""
        if (reason := self.reason()) is not None:
            return [f"pixel_aupimo is undefined: {reason}"]
        grid, n_pixels = self.grid(), sum(store.size for store in self._normal.values())
        normal = f"{n_pixels} normal pixels of {self._images()} images"
        reached = f"{normal}, shared FPR from {grid.fprs[-1]:.3g} to {grid.fprs[0]:.3g} reached"
        few = f", on {len(grid.fprs)} thresholds only" if len(grid.fprs) < FEW_POINTS else ""
        return [f"pixel_aupimo: {reached} of {self.bounds[0]:g} to {self.bounds[1]:g}{few}"]

    def per_image(self) -> Reals:
        """The official form of each anomalous image (A,), in the order of arrival, however few its points."""
        grid = self.grid()
        lengths = np.diff(np.log(grid.fprs[::-1]))
        width = math.log(self.bounds[1] / self.bounds[0])
        values = []
        for marked in self._marked:
            recall = _share_from(marked, grid.thresholds[::-1], "left")
            values.append(float(lengths @ (recall[1:] + recall[:-1])) / 2 / width)
        return np.clip(np.asarray(values, np.float64), 0.0, 1.0)

    def grid(self) -> Grid:
        """The points of the official form. Raises UserError without normal pixels."""
        if self._grid is None:
            if not self._normal:
                raise UserError("AUPIMO without normal images", hint="add images whose mask marks nothing")
            spans = [store.span() for store in self._normal.values()]
            low, high = min(low for low, _ in spans), max(high for _, high in spans)
            dtype = np.result_type(*(store.dtype() for store in self._normal.values()))
            thresholds = np.linspace(low, high, self.n_thresholds).astype(dtype)
            fprs = self._fpr(thresholds)
            first, last = (int(np.abs(fprs - bound).argmin()) for bound in reversed(self.bounds))
            self._grid = Grid(thresholds[first : last + 1], fprs[first : last + 1])
        return self._grid

    def per_image_exact(self) -> Reals:
        """The exact form of each anomalous image (A,), in the order of arrival."""
        thresholds = self._highest_normal()
        at = np.log(self._fpr(thresholds))
        low, high = (math.log(bound) for bound in self.bounds)
        left, right = np.maximum(at[:-1], low), np.minimum(at[1:], high)
        inside = right > left
        start, length = at[:-1][inside], np.diff(at)[inside]
        left, right, reached = left[inside], right[inside], thresholds[1:][inside]
        middle = ((left + right) / 2 - start) / length  # where the mean height of a straight piece lies
        values = []
        for marked in self._marked:
            before, after = _share_from(marked, reached, "right"), _share_from(marked, reached, "left")
            values.append(float((right - left) @ (before + (after - before) * middle)) / (high - low))
        return np.clip(np.asarray(values, np.float64), 0.0, 1.0)

    def _add_normal(self, size: int, scores: Scores) -> None:
        self._grid = None
        self._normal.setdefault(size, ScoreStore(self.memory_limit)).add(scores)

    def _images(self) -> int:
        return sum(store.size // size for size, store in self._normal.items())

    def _undefined(self) -> str | None:
        """Why neither form is defined; None where both may be."""
        if not self._marked or not self._normal:
            return f"no {'normal' if self._marked else 'anomalous'} images with masks"
        spans = [store.span() for store in self._normal.values()]
        if not np.isfinite(spans).all():
            return "normal images have infinite scores"
        least = float(self._fpr(np.asarray([max(high for _, high in spans)]))[0])
        if least > self.bounds[0]:
            return f"the smallest shared FPR above 0 is {least:.3g}, beyond the lower bound of {self.bounds[0]:g}"
        return None

    def _fpr(self, thresholds: Scores) -> Reals:
        """The mean over normal images of the share of their pixels at or above each threshold (T,)."""
        shares = [store.count(thresholds)[1] / size for size, store in self._normal.items()]
        return np.asarray(np.sum(shares, axis=0) / self._images(), np.float64)

    def _highest_normal(self) -> Scores:
        """The distinct normal scores, falling, to the first whose shared FPR reaches the upper bound."""
        n_images, upper = self._images(), self.bounds[1]
        tops = [store.top(int(upper * size * n_images) + 2) for size, store in self._normal.items()]
        scores = np.unique(np.concatenate(tops))[::-1]
        beyond: Counts = np.flatnonzero(self._fpr(scores) >= upper)
        return scores[: beyond[0] + 1] if len(beyond) else scores


def _share_from(marked: Scores, thresholds: Scores, side: Any) -> Reals:
    """The share of sorted scores at or above ("left"), or strictly above ("right"), each threshold."""
    return np.asarray((len(marked) - np.searchsorted(marked, thresholds, side)) / len(marked), np.float64)


def _mean(values: Reals) -> float:
    return math.fsum(values) / len(values)


def _accumulator(_parameter: float | None, memory_limit: int) -> AupimoMetrics:
    return AupimoMetrics(memory_limit=memory_limit)


_SOURCE = "Bertoldo et al., AUPIMO, BMVC 2024"
DEFINITIONS = (
    Metric(
        name="pixel_aupimo",
        title="pixel AUPIMO",
        level="pixel",
        formula="mean recall in each anomalous image over normal images' mean FPR from 1e-5 to 1e-4, log axis; "
        "300,000 even thresholds, as the authors' code",
        source=_SOURCE,
        of_pixels=_accumulator,
        every_score=True,
    ),
    Metric(
        name="pixel_aupimo_exact",
        title="pixel AUPIMO exact",
        level="pixel",
        formula="the same at every normal score, cut at the bounds: the limit of many thresholds",
        source=_SOURCE,
        of_pixels=_accumulator,
        every_score=True,
    ),
)
