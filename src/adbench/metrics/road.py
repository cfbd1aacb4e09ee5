"""All metrics of a road data set from one pass over its images: pixels pooled, and components at the best F1.

The score threshold of the components is only known when all pixels are, so score maps and labels are kept until then:
5 bytes per pixel, beyond a limit in files.

    TEMPORARY FOLDER/adbench-maps-*/N.npy    maps and labels in turn; removed with the last accumulator that uses them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from adbench.errors import UserError, unknown
from adbench.metrics.components import component_metrics, components_above
from adbench.metrics.inputs import Labels, Scores, labelled_images
from adbench.metrics.metric import Metric
from adbench.metrics.road_pixels import RoadProtocol, road_curve
from adbench.metrics.store import Stored, spilled

ROAD_METRICS = ("pixel_auroc", "pixel_ap", "pixel_fpr95", "component_siou_gt", "component_ppv", "component_f1")


class RoadMetrics:
    """Accumulate score maps and labels, then `compute` the values of ROAD_METRICS (see `road_pixels`, `components`).

    min_pred, min_gt  pixels of the smallest components that count
    memory_limit      bytes that may be kept in memory, maps and pixel scores together
    Results do not depend on batches, on the order of images or on how they were split before merging.
    """

    def __init__(
        self,
        *,
        protocol: RoadProtocol = "exact",
        min_pred: int = 500,
        min_gt: int = 100,
        memory_limit: int = 4 << 30,
    ) -> None:
        if protocol not in get_args(RoadProtocol):
            raise unknown("protocol of road scenes", protocol, get_args(RoadProtocol))
        if min(min_pred, min_gt) < 0:
            raise UserError(f"the smallest components have {min_pred} and {min_gt} pixels", hint="give 0 or more")
        self.protocol, self.min_pred, self.min_gt = protocol, min_pred, min_gt
        self.memory_limit = memory_limit
        self._maps = MapStore(memory_limit // 2)

    def update(self, maps: ArrayLike | Sequence[ArrayLike], labels: ArrayLike | Sequence[ArrayLike]) -> RoadMetrics:
        """Add maps (B, H, W) and labels (B, H, W) of 0, 1, 255 (ignored), or lists of (H, W)."""
        for scores, known in [*labelled_images(maps, labels)]:
            self._maps.add(scores, known)
        return self

    def merge(self, other: RoadMetrics) -> RoadMetrics:
        """Add what `other` holds (of another process, say); `other` stays as it is."""
        mine, theirs = ((pixels.protocol, pixels.min_pred, pixels.min_gt) for pixels in (self, other))
        if mine != theirs:
            raise UserError("road metrics of other settings cannot be merged", hint="use one protocol and sizes")
        self._maps.merge(other._maps)
        return self

    def compute(self) -> dict[str, float]:
        """Return the metrics in [0, 1]. Pixel metrics are NaN where only one label occurs.

        component_siou_gt is NaN without annotated components, component_ppv without predicted ones; component_f1 is 0
        then. Without a curve no threshold is best, and nothing is predicted. Further updates may follow.
        """
        curve = road_curve(self._maps, self.protocol, memory_limit=self.memory_limit // 2)
        threshold = np.inf if np.isnan(curve.best_threshold) else curve.best_threshold
        sizes = {"min_pred": self.min_pred, "min_gt": self.min_gt}
        components = [components_above(threshold, scores, labels, **sizes) for scores, labels in self._maps]
        pixels = {"pixel_ap": curve.ap, "pixel_auroc": curve.auroc, "pixel_fpr95": curve.fpr95}
        values = pixels | component_metrics(components)
        return {name: values[name] for name in ROAD_METRICS}


class MapStore:
    """Score maps with their labels, in memory up to `memory_limit` bytes, beyond that in a temporary folder."""

    def __init__(self, memory_limit: int) -> None:
        self.memory_limit = memory_limit
        self._maps: list[tuple[Stored, Stored]] = []

    def __iter__(self) -> Iterator[tuple[Scores, Labels]]:
        """Yield scores (H, W) and labels (H, W) of each image, one at a time, in the order of arrival."""
        for scores, labels in self._maps:
            yield scores.read(), labels.read()

    def add(self, scores: Scores, labels: Labels) -> None:
        """Keep a map (H, W) and its labels (H, W); both are copied."""
        self._maps.append((Stored(scores.copy()), Stored(labels.copy())))
        self._keep_below_limit()

    def merge(self, other: MapStore) -> None:
        """Add the maps of `other`, which stays as it is; they are shared, not copied."""
        self._maps += other._maps
        self._keep_below_limit()

    def _keep_below_limit(self) -> None:
        arrays = [array for pair in self._maps for array in pair]
        if sum(array.n_bytes for array in arrays) > self.memory_limit:
            stored = spilled(arrays, "adbench-maps-", self.memory_limit)
            self._maps = list(zip(stored[::2], stored[1::2], strict=True))


_SMIYC = "Chan et al., SegmentMeIfYouCan, NeurIPS 2021 Datasets and Benchmarks, section 3.2"
_ROAD = "data of road scenes"
DEFINITIONS = (
    Metric(
        name="pixel_fpr95",
        title="pixel FPR95",
        level="pixel",
        formula="FPR over known pixels at the first threshold, descending, with recall >= 0.95",
        source=_SMIYC,
        asked_by=_ROAD,
        lower_is_better=True,
    ),
    Metric(
        name="component_siou_gt",
        title="component sIoU",
        level="component",
        formula="mean over annotated components of their overlap with all predicted ones that touch them",
        source=_SMIYC,
        asked_by=_ROAD,
    ),
    Metric(
        name="component_ppv",
        title="component PPV",
        level="component",
        formula="mean over predicted components of the share that is annotated",
        source=_SMIYC,
        asked_by=_ROAD,
    ),
    Metric(
        name="component_f1",
        title="component F1",
        level="component",
        formula="mean F1 of components over bounds of sIoU and PPV from 0.25 to 0.75",
        source=_SMIYC,
        asked_by=_ROAD,
    ),
)
