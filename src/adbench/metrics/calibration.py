"""Whether image scores that claim to be probabilities of an anomaly are such: calibration error and Brier score.

ECE    15 bins of equal width on [0, 1], closed on the left, the last on both sides: the sum over bins of
       (images in it / all images) x |mean score - share of anomalous ones|. The version of the positive class
       (torchmetrics' binary_calibration_error); biased upwards where bins hold few images
Brier  mean of (score - label)^2
Scores that leave [0, 1] are no probabilities: NaN, never rescaled by the test images. The share of anomalous images in
the test set enters both.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from adbench.metrics.inputs import as_binary, as_scores
from adbench.metrics.metric import Metric
from adbench.metrics.ranking import Reals

N_BINS = 15
FEW_IMAGES = 300


def ece(probabilities: ArrayLike, labels: ArrayLike, n_bins: int = N_BINS) -> float:
    """Expected calibration error of `probabilities` (N,) against 0/1 `labels` (N,); NaN outside of [0, 1] or empty."""
    p, y = _pair(probabilities, labels)
    if not len(p):
        return math.nan
    of_bin = np.searchsorted(np.arange(1, n_bins) / n_bins, p, "right")
    gaps = np.abs(np.bincount(of_bin, p - y, n_bins))
    return float(gaps.sum() / len(p))


def brier(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance of `probabilities` (N,) from 0/1 `labels` (N,); NaN outside of [0, 1] or empty."""
    p, y = _pair(probabilities, labels)
    return float(np.square(p - y).mean()) if len(p) else math.nan


def _pair(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Reals, Reals]:
    """Both in float64; empty where a score is no probability."""
    p, y = as_scores(probabilities, "scores").astype(np.float64), as_binary(labels, "labels").astype(np.float64)
    return (p, y) if len(p) and p.min() >= 0 and p.max() <= 1 else (p[:0], y[:0])


DEFINITIONS = (
    Metric(
        name="image_ece",
        title="image ECE",
        level="image",
        formula="sum over 15 even bins of share of images x |mean probability - share of anomalous ones|",
        source="Naeini et al., AAAI 2015; the version of the positive class, as torchmetrics",
        lower_is_better=True,
        of_images=ece,
        probabilities=True,
        least_images=FEW_IMAGES,
    ),
    Metric(
        name="image_brier",
        title="image Brier score",
        level="image",
        formula="mean of (probability - label)^2",
        source="Brier, Monthly Weather Review 1950",
        lower_is_better=True,
        of_images=brier,
        probabilities=True,
    ),
)
