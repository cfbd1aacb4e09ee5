"""Pixel metrics of road scenes: AP, AUROC and FPR@95 over the pooled known pixels of a data set.

exact  every score counts: AP as scikit-learn's step sum, AUROC with ties as halves, FPR@95 at the first threshold
       (descending) whose recall is at least 0.95
smiyc  the binned curve of SegmentMeIfYouCan's benchmark: every image is binned at quantiles of its own scores (see
       `image_bins`), and the bins of all images are sorted into one curve (see `BinnedCurve`)
Both give a best-F1 threshold, the largest of equally good ones, by which components are found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adbench.errors import UserError, unknown
from adbench.metrics.exact import ExactPixels
from adbench.metrics.inputs import Scores, labelled_images
from adbench.metrics.ranking import Curve, Reals, measure

RoadProtocol = Literal["exact", "smiyc"]
RECALL = 0.95
BINS = 768
_MARGIN = 0.01  # of the range, and at least so much: how far the outer edges lie beyond the scores


@dataclass(frozen=True, kw_only=True, slots=True)
class RoadCurve:
    """What is read off a curve; fractions in [0, 1]; all NaN where only one label occurs.

    fpr95, threshold95   false-positive rate and threshold of the first point of recall >= 0.95
    best_f1, best_threshold  of the point of the largest F1, the first of equal ones
    """

    ap: float = float("nan")
    auroc: float = float("nan")
    fpr95: float = float("nan")
    threshold95: float = float("nan")
    best_f1: float = float("nan")
    best_threshold: float = float("nan")


class RoadPixels:
    """Accumulate score maps and labels, then `compute` pixel_ap, pixel_auroc and pixel_fpr95.

    `protocol` is "exact" (4 bytes per normal pixel, on disk under `spill_dir` above `memory_limit` bytes; 8 per
    anomalous pixel) or "smiyc" (about 18 KiB per image).
    """

    def __init__(
        self,
        *,
        protocol: RoadProtocol = "exact",
        bins: int = BINS,
        memory_limit: int = 4 << 30,
        spill_dir: str | Path | None = None,
    ) -> None:
        if protocol not in get_args(RoadProtocol):
            raise unknown("protocol of road scenes", protocol, get_args(RoadProtocol))
        self.protocol, self.bins = protocol, bins
        self._pixels: ExactPixels | BinnedCurve = (
            ExactPixels(memory_limit, spill_dir) if protocol == "exact" else BinnedCurve(bins)
        )

    def update(self, maps: ArrayLike | Sequence[ArrayLike], labels: ArrayLike | Sequence[ArrayLike]) -> RoadPixels:
        """Add maps (B, H, W) and labels (B, H, W) of 0, 1, 255 (ignored), or lists of (H, W)."""
        for scores, known in [*labelled_images(maps, labels)]:  # all are checked before the first is taken in
            negatives, positives = scores[known == 0], scores[known == 1]
            if isinstance(self._pixels, BinnedCurve):
                self._pixels.add(negatives, positives)
            else:
                self._pixels.add(negatives, positives, np.ones(len(positives), np.uint32), len(positives))
        return self

    def merge(self, other: RoadPixels) -> RoadPixels:
        """Add what `other` holds (of another process, say); `other` stays as it is."""
        match self._pixels, other._pixels:
            case (ExactPixels() as mine, ExactPixels() as theirs):
                mine.merge(theirs)
            case (BinnedCurve() as mine, BinnedCurve() as theirs) if self.bins == other.bins:
                mine.merge(theirs)
            case _:
                raise UserError("pixel metrics of other settings cannot be merged", hint="use one protocol")
        return self

    def compute(self) -> dict[str, float]:
        """Return the metrics in [0, 1]; NaN where only one label occurs. Further updates may follow."""
        values = asdict(self.curve())
        return {f"pixel_{name}": values[name] for name in ("ap", "auroc", "fpr95")}

    def curve(self) -> RoadCurve:
        """Return the metrics and the thresholds of the curve."""
        if isinstance(self._pixels, BinnedCurve):
            return self._pixels.curve()
        recall = _RecallPoint()
        values = measure(recall.watch(self._pixels.stretches()))
        return RoadCurve(
            ap=values["ap"],
            auroc=values["auroc"],
            fpr95=recall.fpr,
            threshold95=recall.threshold,
            best_f1=values["f1max"],
            best_threshold=values["f1max_threshold"],
        )


@dataclass(slots=True)
class _RecallPoint:
    """The first point of an exact curve with recall >= 0.95, noted while its stretches pass by."""

    fpr: float = float("nan")
    threshold: float = float("nan")

    def watch(self, stretches: Iterable[Curve]) -> Iterator[Curve]:
        """Yield the stretches as they are."""
        for part in stretches:
            reached = np.flatnonzero(part.hits[1:] / part.n_positives >= RECALL)
            if len(reached) and np.isnan(self.fpr):
                self.fpr = float(part.alarms[1:][reached[0]] / part.n_negatives)
                self.threshold = float(np.asarray(part.thresholds)[reached[0]])
            yield part


class ImageBins(NamedTuple):
    """The bins of one image: lower edges, anomalous and normal pixels in each, all (n,)."""

    thresholds: Reals
    anomalous: NDArray[np.int64]
    normal: NDArray[np.int64]


def image_bins(negatives: ArrayLike, positives: ArrayLike, bins: int = BINS) -> ImageBins:
    """Bin the scores of one image, (N,) and (P,) in float64, at least one of them not empty.

    Edges: the smallest and largest score, moved outwards by 1 % of the range and at least 0.01; min(bins / 2, P)
    quantiles of the anomalous scores at levels from 0 to 1; as many of the normal ones; each edge once. Bins are closed
    on the left.
    """
    both = [np.asarray(values, np.float64) for values in (negatives, positives)]
    low = min(values.min() for values in both if len(values))
    high = max(values.max() for values in both if len(values))
    margin = max((high - low) * _MARGIN, _MARGIN)
    edges = [np.array([low - margin, high + margin])]
    edges += [np.quantile(values, np.linspace(0, 1, min(bins // 2, len(values)))) for values in both if len(values)]
    unique = np.unique(np.concatenate(edges))
    normal, anomalous = (np.histogram(values, unique)[0].astype(np.int64) for values in both)
    return ImageBins(unique[:-1], anomalous, normal)


class BinnedCurve:
    """Bins of many images, sorted into one curve.

    Thresholds descend. Of a threshold that repeats, in several images, only the last entry counts; but the very first
    entry of the list always counts too, as in the benchmark. Where several images share the largest threshold
    (saturated maps) that entry depends on the order of equals; here: the one with most anomalous, then with fewest
    normal pixels, whatever order the images came in.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.bins = bins
        self.images: list[ImageBins] = []

    def add(self, negatives: Scores, positives: Scores) -> None:
        """Take in the scores of an image; one without known pixels adds nothing."""
        if len(negatives) or len(positives):
            self.images.append(image_bins(negatives, positives, self.bins))

    def merge(self, other: BinnedCurve) -> None:
        """Add the images of `other`, which stays as it is."""
        self.images += other.images

    def points(self) -> Mapping[str, NDArray[Any]]:
        """The curve's "threshold" (n,) float64 with true and false positives "tp" and "fp" (n,) int64.

        It begins with nothing predicted (threshold inf) and ends with everything.
        """
        thresholds, positives, negatives = (np.concatenate(parts) for parts in zip(*self.images, strict=True))
        order = np.lexsort((negatives, -positives, -thresholds))
        thresholds, tp, fp = thresholds[order], np.cumsum(positives[order]), np.cumsum(negatives[order])
        counts = np.append(thresholds[1:] != thresholds[:-1], True)
        counts[0] = True
        return {
            "threshold": np.append(np.inf, thresholds[counts]),
            "tp": np.append(0, tp[counts]),
            "fp": np.append(0, fp[counts]),
        }

    def curve(self) -> RoadCurve:
        """Return what the curve says."""
        if not self.images:
            return RoadCurve()
        thresholds, tp, fp = self.points().values()
        if not tp[-1] or not fp[-1]:
            return RoadCurve()
        recall, fpr = tp / tp[-1], fp / fp[-1]
        precision = np.where(tp + fp, tp / np.maximum(tp + fp, 1), 1.0)
        f1 = 2 * tp / (tp[-1] + tp + fp)
        reached, best = int(np.argmax(recall >= RECALL)), int(f1.argmax())
        return RoadCurve(
            ap=float(np.diff(recall) @ precision[1:]),
            auroc=float(np.diff(fpr) @ (recall[1:] + recall[:-1]) / 2),  # trapezoids
            fpr95=float(fpr[reached]),
            threshold95=float(thresholds[reached]),
            best_f1=float(f1[best]),
            best_threshold=float(thresholds[best]),
        )
