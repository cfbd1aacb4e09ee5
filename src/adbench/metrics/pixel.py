"""Pixel metrics of a class: AUROC, AP, max-F1 and AUPRO of anomaly maps against masks, from one sort of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from adbench.errors import UserError
from adbench.metrics.aupro200 import GRIDS, Grid, ThresholdCurve, area, threshold_curve
from adbench.metrics.binned import BinnedPixels
from adbench.metrics.exact import ExactPixels
from adbench.metrics.inputs import Maps, Mask, Masks, Scores, scored_images
from adbench.metrics.metric import Metric, Parameter
from adbench.metrics.pro_curve import Point, noting
from adbench.metrics.ranking import Inside, ranking_metrics
from adbench.metrics.regions import find_regions
from adbench.typed import Range

SLICE_PX = 1 << 20  # pixels taken in at a time: stays in the processor's cache, and bounds what an update needs
EXACT_LIMIT = 64 << 30  # bytes of one class's scores: 64,000 images of 518 px
AUPRO_LIMIT = 0.3
PAPERS_FPR_LIMIT = 0.3  # of the 200-threshold variant


Mode = Literal["auto", "exact", "constant"]


class PixelMetrics:
    """Accumulate maps and masks, then `compute` pixel_auroc, pixel_ap, pixel_f1max, pixel_aupro (and pixel_aupro200).

    `mode="exact"` keeps every score: 4 bytes per normal pixel, in temporary files above `memory_limit` bytes,
    and 8 bytes per anomalous pixel in memory. `mode="constant"` counts in 2^20 bins (24 MiB): see `error_bounds`.
    `mode="auto"` is exact as long as all scores together, those of merged shards included, take at most `exact_limit`
    bytes, and counts in bins from there on, unless `aupro200` wants every score; the attribute `mode` says which it is.
    `aupro_limit` is the false-positive rate up to which AUPRO integrates; each of `further_aupro_limits` adds a
    pixel_aupro@LIMIT, `aupro200=True` the papers' variant.
    Picklable.
    """

    def __init__(
        self,
        *,
        aupro_limit: float = AUPRO_LIMIT,
        further_aupro_limits: Sequence[float] = (),
        aupro200: bool = False,
        grid: Grid = "numpy1",
        mode: Mode = "exact",
        memory_limit: int = 4 << 30,
        exact_limit: int = EXACT_LIMIT,
    ) -> None:
        for limit in (aupro_limit, *further_aupro_limits):
            if not 0 < limit <= 1:
                raise UserError(f"aupro_limit={limit}", hint="choose a false-positive rate above 0, at most 1")
        if mode not in get_args(Mode):
            raise UserError(f"unknown mode {mode!r} of PixelMetrics", hint=f"choose one of {', '.join(get_args(Mode))}")
        if grid not in GRIDS:
            raise UserError(f"unknown grid {grid!r} of aupro200", hint=f"choose one of {', '.join(GRIDS)}")
        if aupro200 and mode == "constant":
            raise UserError("aupro200 needs every score", where="mode='constant'", hint="choose mode='exact'")
        self.aupro_limit, self.aupro200, self.grid = aupro_limit, aupro200, grid
        self.further_aupro_limits = tuple(further_aupro_limits)
        self._exact_limit = exact_limit if mode == "auto" and not aupro200 else None
        self._pixels = BinnedPixels() if mode == "constant" else ExactPixels(memory_limit)

    @property
    def mode(self) -> Literal["exact", "constant"]:
        """Whether the metrics are exact so far."""
        return "exact" if isinstance(self._pixels, ExactPixels) else "constant"

    def update(self, maps: Maps, masks: Masks = None) -> PixelMetrics:
        """Add maps (B, H, W) and 0/1 masks (B, H, W), or lists of (H, W); a missing mask means a normal image."""
        for scores, mask in [*scored_images(maps, masks)]:  # all are checked before the first is taken in
            step = max(1, SLICE_PX // max(1, scores[0].size)) if len(scores) else 1
            for i in range(0, len(scores), step):
                self._add(scores[i : i + step], mask[i : i + step])
        return self

    def merge(self, other: PixelMetrics) -> PixelMetrics:
        """Add what `other` holds (of another process, say); `other` stays as it is."""
        mine, theirs = self._pixels, other._pixels
        if self._exact_limit is not None and self.mode != other.mode:
            mine, theirs = (pixels.binned() if isinstance(pixels, ExactPixels) else pixels for pixels in (mine, theirs))
        match mine, theirs:
            case (ExactPixels(), ExactPixels()):
                mine.merge(theirs)
            case (BinnedPixels(), BinnedPixels()):
                mine.merge(theirs)
            case _:
                raise UserError(f"cannot merge mode={other.mode!r} into mode={self.mode!r}", hint="use one mode")
        self._pixels = mine
        self._bin_what_is_too_large()
        return self

    def compute(self, *, thresholds: bool = False, pro: list[Point] | None = None) -> dict[str, float]:
        """Return the metrics in [0, 1]; NaN where only one label occurs. Further updates may follow.

        `pro` gets the points of the curve behind pixel_aupro, thinned (`metrics.pro_curve`).

        With `thresholds` pixel_f1max_threshold too: pixel_f1max is that of `score >= threshold` (in constant mode the
        lower edge of a bin).
        """
        values = self._measure("tied", pro)
        if not thresholds:
            del values["pixel_f1max_threshold"]
        if self.aupro200:
            values["pixel_aupro200"] = area(self.threshold_curve(self.grid), PAPERS_FPR_LIMIT)
        return values

    def error_bounds(self) -> dict[str, float]:
        """Return by how much each value of `compute` can differ from the exact one at most: 0 in exact mode."""
        values = self.compute()
        if self.mode == "exact":
            return {name: value * 0.0 for name, value in values.items()}
        worst, best = self._measure("worst"), self._measure("best")
        return {name: float(np.maximum(best[name] - values[name], values[name] - worst[name])) for name in values}

    def threshold_curve(self, grid: Grid = "numpy1") -> ThresholdCurve:
        """Return the curve behind `pixel_aupro200` before points are dropped."""
        if not isinstance(self._pixels, ExactPixels):
            raise UserError("aupro200 needs every score", where="mode='constant'", hint="choose mode='exact'")
        return threshold_curve(self._pixels, grid)

    def _add(self, maps: Scores, masks: Mask) -> None:
        regions = find_regions(masks)
        flat = maps.reshape(-1)
        negatives = flat[~masks.reshape(-1)] if len(regions.pixels) else flat
        self._pixels.add(negatives, flat[regions.pixels], regions.areas, regions.n_regions)
        self._bin_what_is_too_large()

    def _bin_what_is_too_large(self) -> None:
        pixels, limit = self._pixels, self._exact_limit
        if isinstance(pixels, ExactPixels) and limit is not None and pixels.n_bytes > limit:
            self._pixels = pixels.binned()

    def _measure(self, inside: Inside, pro: list[Point] | None = None) -> dict[str, float]:
        limits = (self.aupro_limit, *self.further_aupro_limits)
        stretches = self._pixels.stretches()
        values = ranking_metrics(stretches if pro is None else noting(stretches, self.aupro_limit, pro), limits, inside)
        return {f"pixel_{name}": value for name, value in values.items()}


def aupro(maps: Maps, masks: Masks, limit: float = AUPRO_LIMIT) -> float:
    """Exact area under the per-region overlap curve up to the false-positive rate `limit`, divided by it.

    One point per distinct score, ties merged, straight lines between points, 8-connected regions: the definition of the
    MVTec AD evaluation. NaN without anomalous or without normal pixels.
    """
    return PixelMetrics(aupro_limit=limit).update(maps, masks).compute()["pixel_aupro"]


def aupro200(maps: Maps, masks: Masks, limit: float = PAPERS_FPR_LIMIT, grid: Grid = "numpy1") -> float:
    """AUPRO on 200 thresholds as in the AnomalyCLIP and FAPrompt tables (see `adbench.metrics.aupro200`)."""
    return area(PixelMetrics().update(maps, masks).threshold_curve(grid), limit)


DEFINITIONS = (
    Metric(
        name="pixel_auroc",
        title="pixel AUROC",
        level="pixel",
        formula="share of pairs of an anomalous and a normal pixel in the right order, a tie counts half",
        shown=True,
        built_in=True,
    ),
    Metric(
        name="pixel_ap",
        title="pixel AP",
        level="pixel",
        formula="sum of recall step x precision over the distinct scores, not interpolated",
        shown=True,
        built_in=True,
    ),
    Metric(
        name="pixel_f1max",
        title="pixel F1-max",
        level="pixel",
        formula="largest 2 TP / (2 TP + FP + FN) over all thresholds, score >= t",
        shown=True,
        built_in=True,
    ),
    Metric(
        name="pixel_aupro",
        title="pixel AUPRO",
        level="pixel",
        formula="area under the mean share found of every 8-connected region over FPR, up to a limit, divided by it",
        source="Bergmann et al., MVTec AD, IJCV 2021, section 5.1",
        shown=True,
        built_in=True,
        asked_by="eval.aupro_limit=0.3,0.05",
        parameter=Parameter(what="FPR limit", range=Range(0, 1, above=True), default=AUPRO_LIMIT),
    ),
    Metric(
        name="pixel_aupro200",
        title="pixel AUPRO-200",
        level="pixel",
        formula="AUPRO to FPR 0.3 from 200 evenly spaced thresholds, the FPR axis stretched to [0, 1]",
        source="metrics.py of zqhang/AnomalyCLIP and mala-lab/FAPrompt",
        asked_by="eval.aupro200=true",
        built_in=True,
    ),
    Metric(
        name="pixel_f1max_threshold",
        title="pixel F1-max threshold",
        level="pixel",
        formula="the highest threshold that gives pixel_f1max, score >= t",
        unit="score",
    ),
)
