"""Saturated per-region overlap (sPRO) and the area under its curve over FPR, as MVTec LOCO AD and AutoVI measure.

A *channel* is one defect: one mask, whatever its number of connected components. Pixels beyond its saturation area s
add nothing: sPRO(t) = mean over the channels of all images of min(pixels of the channel with score > t / s, 1). FPR(t)
is over the pixels outside of every channel of their image, pooled over all images. The area is integrated to an FPR
limit by straight lines between the points at every distinct score, and divided by the limit.
Source: Bergmann et al., Beyond Dents and Scratches, IJCV 2022, section 4; MVTec LOCO AD's evaluation code refines a
coarse grid of thresholds instead, and comes within some 1e-4 of this.

Only the s highest scores of a channel matter, each for 1 / s of it: the curve is then that of AUPRO.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from adbench.errors import UserError
from adbench.metrics.exact import ExactPixels
from adbench.metrics.inputs import Mask, Scores, as_binary, as_scores
from adbench.metrics.metric import Metric, Parameter
from adbench.metrics.ranking import Reals, ranking_metrics
from adbench.typed import Range

LIMIT = 0.05


class Saturation(NamedTuple):
    """From which area on a defect counts as found: a share of its own area in (0, 1], or a number of pixels."""

    threshold: float
    relative: bool

    def area(self, n_pixels: int) -> int:
        """Pixels of a defect of `n_pixels` that saturate it: rounded down, at least 1, at most all."""
        area = math.floor(self.threshold * n_pixels) if self.relative else math.floor(self.threshold)
        return min(max(area, 1), n_pixels)


class Channel(NamedTuple):
    """One defect of an image: its mask (H, W) of 0/1, and its saturation."""

    mask: ArrayLike
    saturation: Saturation


class SproMetrics:
    """Accumulate maps and their channels, then `compute` pixel_auspro. Exact: 4 bytes per pixel outside of channels.

    limit         false-positive rate to which the curve is integrated
    memory_limit  bytes in memory; beyond it, scores lie in temporary files
    """

    def __init__(self, *, limit: float = LIMIT, memory_limit: int = 4 << 30) -> None:
        if not 0 < limit <= 1:
            raise UserError(f"the limit of sPRO is {limit}", hint="choose a false-positive rate above 0, at most 1")
        self.limit = limit
        self._pixels = ExactPixels(memory_limit)

    def update(
        self, maps: ArrayLike | Sequence[ArrayLike], channels: Sequence[Sequence[Channel]] | None = None
    ) -> SproMetrics:
        """Add maps (B, H, W), or a list of (H, W), and the channels of each image; a good image has none.

        Channels of an image may overlap. One that marks nothing is left out.
        """
        images = list(maps) if isinstance(maps, (list, tuple)) else list(np.asarray(maps))
        given = [()] * len(images) if channels is None else list(channels)
        if len(images) != len(given):
            raise UserError(f"{len(images)} maps but channels of {len(given)} images", hint="pass a list per map")
        for image in [_checked(*pair, f"map {i}") for i, pair in enumerate(zip(images, given, strict=True))]:
            self._add(*image)
        return self

    def merge(self, other: SproMetrics) -> SproMetrics:
        """Add what `other` holds (of another process, say); `other` stays as it is."""
        self._pixels.merge(other._pixels)
        return self

    def compute(self, limit: float | None = None) -> dict[str, float]:
        """Return pixel_auspro in [0, 1]; NaN without channels, or without a pixel outside of them."""
        return {"pixel_auspro": ranking_metrics(self._pixels.stretches(), (limit or self.limit,))["aupro"]}

    def above(self, thresholds: ArrayLike) -> tuple[Reals, Reals]:
        """FPR and sPRO of the pixels with scores above each of `thresholds` (T,)."""
        return self._pixels.above(as_scores(thresholds, "thresholds"))

    def _add(self, scores: Scores, channels: Sequence[tuple[Mask, int]]) -> None:
        outside = np.ones(scores.shape, np.bool_)
        highest: list[Scores] = [np.zeros(0, scores.dtype)]
        areas = [0]
        for mask, area in channels:
            outside &= ~mask
            inside = scores[mask]
            highest.append(np.partition(inside, len(inside) - area)[len(inside) - area :])
            areas.append(area)
        saturation = np.repeat(np.asarray(areas, np.uint32), areas)  # of every pixel that counts
        self._pixels.add(scores[outside], np.concatenate(highest), saturation, len(channels))


def _checked(map_: ArrayLike, channels: Sequence[Channel], where: str) -> tuple[Scores, list[tuple[Mask, int]]]:
    """The scores (H, W) of an image; the masks (H, W) of its channels with their saturation areas."""
    scores = as_scores(map_, where)
    regions = []
    for number, channel in enumerate(channels):
        mask = as_binary(channel.mask, f"channel {number} of {where}")
        if scores.ndim != 2 or mask.shape != scores.shape:
            raise UserError(
                f"a channel of shape {mask.shape} for a map of shape {scores.shape}",
                where=where,
                hint="pass maps (B, H, W) or lists of (H, W); resize the map to the channels, never the channels",
            )
        threshold, relative = channel.saturation
        if not 0 < threshold <= (1 if relative else math.inf):
            kind = "relative" if relative else "absolute"
            raise UserError(
                f"a {kind} saturation of {threshold}", where=where, hint="relative: in (0, 1]; absolute: above 0 pixels"
            )
        n_pixels = int(np.count_nonzero(mask))
        if n_pixels:
            regions.append((mask, channel.saturation.area(n_pixels)))
    return scores, regions


def spro(map_: ArrayLike, channel: Channel, threshold: float) -> float:
    """Saturated overlap of one channel: pixels in it with score > threshold over its saturation area, at most 1."""
    scores, regions = _checked(map_, [channel], "map")
    if not regions:
        return math.nan
    mask, area = regions[0]
    return min(int(np.count_nonzero(scores[mask].astype(np.float64) > threshold)) / area, 1.0)


def auc_spro(
    maps: ArrayLike | Sequence[ArrayLike], channels: Sequence[Sequence[Channel]], limit: float = LIMIT
) -> float:
    """Area under sPRO up to the false-positive rate `limit`, divided by it; NaN where undefined."""
    return SproMetrics(limit=limit).update(maps, channels).compute()["pixel_auspro"]


def _accumulator(memory_limit: int) -> SproMetrics:
    return SproMetrics(memory_limit=memory_limit)


DEFINITIONS = (
    Metric(
        name="pixel_auspro",
        title="pixel AUC-sPRO",
        level="pixel",
        formula="area under the mean saturated share found of every defect over FPR, up to a limit, divided by it",
        source="Bergmann et al., Beyond Dents and Scratches, IJCV 2022",
        of_defects=_accumulator,
        every_score=True,
        parameter=Parameter(what="FPR limit", range=Range(0, 1, above=True), default=LIMIT),
    ),
)
