"""Pixels of a class at a given score threshold: one confusion matrix over all pixels of all images, good ones included.

A pixel is predicted anomalous iff score > t.  F1 = 2 TP / (2 TP + FP + FN), IoU = TP / (TP + FP + FN) = F1 / (2 - F1),
precision = TP / (TP + FP), 0 where nothing is predicted, recall = TP / (TP + FN). NaN without an anomalous pixel.
SegF1 of MVTec AD 2 is this F1 at mean + 3 standard deviations of the scores of the validation images, all of them
normal (`ScoreMoments`). How its server pools, and whether > or >=, is not public; several projects read it so. Nothing
is chosen by the test images, so it is not max-F1, nor the mean of each image's own best F1.
ClassF1 counts an image as anomalous iff any of its pixels is predicted so, its label by its mask: a guess likewise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from adbench.metrics.inputs import Maps, Masks, as_scores, scored_images
from adbench.metrics.metric import VALIDATION_RULE, Metric, Parameter
from adbench.typed import Range

NAMES = ("segf1", "seg_iou", "seg_precision", "seg_recall", "classf1")


class ThresholdedPixels:
    """Accumulate maps and masks in six counts, then `compute` the figures of NAMES at `threshold`.

    A threshold of NaN (there were no validation images) makes all of them NaN.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = float(threshold)
        self._counts = np.zeros((2, 3), np.int64)  # of pixels, of images: TP, FP, FN

    def update(self, maps: Maps, masks: Masks = None) -> ThresholdedPixels:
        """Add maps (B, H, W) and 0/1 masks (B, H, W), or lists of (H, W); a missing mask means a normal image."""
        for scores, truth in [*scored_images(maps, masks)]:
            for image, true in zip(scores, truth, strict=True):
                # In float64: NumPy would round the threshold to the type of the scores before it compares
                predicted = image.astype(np.float64) > self.threshold
                self._counts += [_confusion(predicted, true), _confusion(predicted.any(), true.any())]
        return self

    def merge(self, other: ThresholdedPixels) -> ThresholdedPixels:
        """Add the counts of `other`, at the same threshold; `other` stays as it is. One without takes the other's."""
        if math.isnan(self.threshold):
            self.threshold = other.threshold
        self._counts = self._counts + other._counts
        return self

    def compute(self) -> dict[str, float]:
        """Return the figures in [0, 1]; NaN without an anomalous pixel (ClassF1: image)."""
        tp, fp, fn = (int(count) for count in self._counts[0])
        if math.isnan(self.threshold) or not tp + fn:
            return dict.fromkeys(NAMES, math.nan)
        images = [int(count) for count in self._counts[1]]
        return {
            "segf1": 2 * tp / (2 * tp + fp + fn),
            "seg_iou": tp / (tp + fp + fn),
            "seg_precision": tp / (tp + fp) if tp + fp else 0.0,
            "seg_recall": tp / (tp + fn),
            "classf1": 2 * images[0] / (2 * images[0] + images[1] + images[2]),
        }

    def notes(self) -> list[str]:
        """Why there is no figure where there was no threshold."""
        return ["no validation images, so no threshold of them"] if math.isnan(self.threshold) else []


def _confusion(predicted: Any, true: Any) -> tuple[int, int, int]:
    """TP, FP, FN of two masks, or of two truth values."""
    hits = int(np.count_nonzero(predicted & true))
    return hits, int(np.count_nonzero(predicted)) - hits, int(np.count_nonzero(true)) - hits


class ScoreMoments:
    """Number, mean and squared deviations of the scores of validation images, in float64, whatever comes in."""

    def __init__(self) -> None:
        self.n, self.mean, self._squares = 0, 0.0, 0.0

    def update(self, maps: Maps) -> ScoreMoments:
        """Add maps (B, H, W), or a list of (H, W)."""
        for map_ in maps if isinstance(maps, (list, tuple)) else np.asarray(maps):
            scores = as_scores(map_, "map").astype(np.float64)
            if scores.size:
                mean = float(scores.mean())
                self._add(scores.size, mean, float(np.square(scores - mean).sum()))
        return self

    def merge(self, other: ScoreMoments) -> ScoreMoments:
        """Add what `other` has seen; it stays as it is. Equal to one pass up to rounding in float64."""
        self._add(other.n, other.mean, other._squares)
        return self

    def threshold(self, sigmas: float = 3.0) -> float:
        """Return mean + `sigmas` population standard deviations; NaN where nothing was seen."""
        return self.mean + sigmas * math.sqrt(self._squares / self.n) if self.n else math.nan

    def _add(self, n: int, mean: float, squares: float) -> None:
        if n:
            total, shift = self.n + n, mean - self.mean
            self._squares += squares + shift * shift * (self.n * n / total)
            self.mean += shift * (n / total)
            self.n = total


def _accumulator(threshold: float | None, _memory_limit: int) -> ThresholdedPixels:
    return ThresholdedPixels(math.nan if threshold is None else threshold)


_THRESHOLD = Parameter(what="score threshold", range=Range(), rules=(VALIDATION_RULE,))
_AD2 = "Heckler-Kram et al., MVTec AD 2, 2025; pooling and > are our reading"


def _metric(name: str, title: str, formula: str, source: str = "") -> Metric:
    return Metric(
        name=name,
        title=title,
        level="pixel",
        formula=formula,
        source=source,
        parameter=_THRESHOLD,
        of_pixels=_accumulator,
    )


DEFINITIONS = (
    _metric("segf1", "SegF1", "2 TP / (2 TP + FP + FN) of all pixels of a class together, score > t", _AD2),
    _metric("seg_iou", "pixel IoU", "TP / (TP + FP + FN) of all pixels of a class together, score > t"),
    _metric("seg_precision", "pixel precision", "TP / (TP + FP) of all pixels of a class together, score > t"),
    _metric("seg_recall", "pixel recall", "TP / (TP + FN) of all pixels of a class together, score > t"),
    _metric("classf1", "ClassF1", "F1 over images, anomalous where any pixel's score > t", _AD2),
    Metric(
        name=f"pixel_{VALIDATION_RULE}",
        title="pixel threshold of the validation images",
        level="pixel",
        formula="mean + 3 population standard deviations of all pixel scores of the class's validation images",
        source=_AD2,
        unit="score",
    ),
    Metric(
        name=f"image_{VALIDATION_RULE}",
        title="image threshold of the validation images",
        level="image",
        formula="mean + 3 population standard deviations of the image scores of the class's validation images",
        unit="score",
    ),
)
