"""Pixel metrics of road scenes: AP, AUROC and FPR@95 over the pooled known pixels of a data set.

exact  every score counts: AP as scikit-learn's step sum, AUROC with ties as halves, FPR@95 at the first threshold
       (descending) whose recall is at least 0.95
smiyc  the binned curve of SegmentMeIfYouCan's benchmark: every image is binned at quantiles of its own scores (see
       `image_bins`), and the bins of all images are sorted into one curve (see `binned_points`)
Both give a best-F1 threshold, the largest of equally good ones, by which components are found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adbench.metrics.exact import ExactPixels
from adbench.metrics.inputs import Labels, Scores
from adbench.metrics.ranking import Curve, Reals, ranking_metrics

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


def road_curve(
    images: Iterable[tuple[Scores, Labels]],
    protocol: RoadProtocol = "exact",
    *,
    bins: int = BINS,
    memory_limit: int = 4 << 30,
) -> RoadCurve:
    """What the curve of all images says, each scores (H, W) with labels (H, W) of 0, 1, 255 (ignored).

    "exact" takes 4 bytes per normal pixel, in temporary files above `memory_limit` bytes, and 8 per anomalous
    pixel; "smiyc" about 18 KiB per image.
    """
    pairs = ((scores[labels == 0], scores[labels == 1]) for scores, labels in images)
    if protocol == "smiyc":
        return _binned_curve([image_bins(*pair, bins) for pair in pairs if any(map(len, pair))])
    pixels = ExactPixels(memory_limit)
    for negatives, positives in pairs:
        pixels.add(negatives, positives, np.ones(len(positives), np.uint32), len(positives))
    recall = _RecallPoint()
    values = ranking_metrics(recall.watch(pixels.stretches()))
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


def binned_points(images: Sequence[ImageBins]) -> tuple[Reals, NDArray[np.int64], NDArray[np.int64]]:
    """The bins of images (at least one) as one curve: thresholds (n,), true and false positives (n,).

    It begins with nothing predicted (threshold inf) and ends with everything; thresholds descend. Of a threshold that
    repeats, in several images, only the last entry counts; but the very first entry of the list always counts too, as
    in the benchmark. Where several images share the largest threshold (saturated maps) that entry depends on the order
    of equals; here: the one with most anomalous, then with fewest normal pixels, whatever order the images came in.
    """
    thresholds, positives, negatives = (np.concatenate(parts) for parts in zip(*images, strict=True))
    order = np.lexsort((negatives, -positives, -thresholds))
    thresholds, tp, fp = thresholds[order], np.cumsum(positives[order]), np.cumsum(negatives[order])
    counts = np.append(thresholds[1:] != thresholds[:-1], True)
    counts[0] = True
    return np.append(np.inf, thresholds[counts]), np.append(0, tp[counts]), np.append(0, fp[counts])


def _binned_curve(images: Sequence[ImageBins]) -> RoadCurve:
    if not images:
        return RoadCurve()
    thresholds, tp, fp = binned_points(images)
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
