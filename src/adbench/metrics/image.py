"""Image metrics of a class: AUROC, AP and max-F1 of one score per image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from adbench.errors import UserError
from adbench.metrics.inputs import Mask, Scores, as_binary, as_scores
from adbench.metrics.metric import Metric
from adbench.metrics.ranking import curve, ranking_metrics


class ImageMetrics:
    """Accumulate scores and labels, then `compute` image_auroc, image_ap and image_f1max."""

    def __init__(self) -> None:
        self._scores: list[Scores] = []
        self._labels: list[Mask] = []

    def update(self, scores: ArrayLike, labels: ArrayLike) -> ImageMetrics:
        """Add scores (B,), kept in full precision, and 0/1 labels (B,)."""
        values, positive = as_scores(scores, "image scores"), as_binary(labels, "image labels")
        if values.ndim != 1 or values.shape != positive.shape:
            raise UserError(
                f"scores of shape {values.shape}, labels of shape {positive.shape}",
                where="ImageMetrics.update",
                hint="pass one score and one label per image, both (B,)",
            )
        self._scores.append(values.copy())
        self._labels.append(positive.copy())
        return self

    def merge(self, other: ImageMetrics) -> ImageMetrics:
        """Add what `other` holds (of another process, say); `other` stays as it is."""
        self._scores += other._scores
        self._labels += other._labels
        return self

    def compute(self, *, thresholds: bool = False) -> dict[str, float]:
        """Return the metrics in [0, 1]; NaN where only one label occurs. Further updates may follow.

        With `thresholds` image_f1max_threshold too: image_f1max is that of `score >= threshold`.
        """
        values = ranking_metrics(curve(*self.content()))
        names = ("auroc", "ap", "f1max") + (("f1max_threshold",) if thresholds else ())
        return {f"image_{name}": values[name] for name in names}

    def content(self) -> tuple[Scores, Mask]:
        """Return all scores (N,) and whether each image is anomalous (N,)."""
        scores = np.concatenate([np.zeros(0, np.float32), *self._scores])
        return scores, np.concatenate([np.zeros(0, np.bool_), *self._labels])


DEFINITIONS = (
    Metric(
        name="image_auroc",
        title="image AUROC",
        level="image",
        formula="share of pairs of an anomalous and a normal image in the right order, a tie counts half",
        shown=True,
        built_in=True,
    ),
    Metric(
        name="image_ap",
        title="image AP",
        level="image",
        formula="sum of recall step x precision over the distinct scores, not interpolated",
        shown=True,
        built_in=True,
    ),
    Metric(
        name="image_f1max",
        title="image F1-max",
        level="image",
        formula="largest 2 TP / (2 TP + FP + FN) over all thresholds, score >= t",
        shown=True,
        built_in=True,
    ),
    Metric(
        name="image_f1max_threshold",
        title="image F1-max threshold",
        level="image",
        formula="the highest threshold that gives image_f1max, score >= t",
        unit="score",
    ),
)
