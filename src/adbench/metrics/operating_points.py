"""Figures of image scores at one operating point of the ROC or PR curve, whose points are the distinct scores.

fpr95                FPR at the first point, thresholds falling, with TPR >= 0.95: not interpolated
recall_at_fpr        largest TPR of the points with FPR <= q, (0, 0) among them: ties are taken whole
recall_at_precision  largest recall of the points with precision >= p; 0 where none has it. Depends on prevalence
balanced_accuracy    (TPR + TNR) / 2 where anomalous iff score > t; t is to come from normal images alone
All but the last choose their threshold by the test labels: upper bounds, no operating points. NaN with one label only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from adbench.metrics.inputs import as_binary, as_scores
from adbench.metrics.metric import VALIDATION_RULE, Metric, Parameter
from adbench.metrics.ranking import curve
from adbench.typed import Range

RECALL = 0.95


def fpr95(scores: ArrayLike, labels: ArrayLike) -> float:
    """False-positive rate of `scores` (N,), against 0/1 `labels` (N,), where 95 % of the anomalies are found."""
    for part in curve(scores, labels):
        first = np.flatnonzero(part.hits[1:] / part.n_positives >= RECALL)[0]
        return int(part.alarms[1 + first]) / part.n_negatives
    return math.nan


def recall_at_fpr(scores: ArrayLike, labels: ArrayLike, rate: float) -> float:
    """Largest share of anomalies found at a false-positive rate of at most `rate`."""
    for part in curve(scores, labels):
        return int(part.hits[part.alarms / part.n_negatives <= rate].max()) / part.n_positives
    return math.nan


def recall_at_precision(scores: ArrayLike, labels: ArrayLike, precision: float) -> float:
    """Largest share of anomalies found with at least this precision."""
    for part in curve(scores, labels):
        hits = part.hits[1:]
        return int(hits[hits / (hits + part.alarms[1:]) >= precision].max(initial=0)) / part.n_positives
    return math.nan


def balanced_accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Mean of the shares of anomalous and of normal images on the right side of `threshold`."""
    values, positive = as_scores(scores, "scores").astype(np.float64), as_binary(labels, "labels")
    if math.isnan(threshold) or positive.all() or not positive.any():
        return math.nan
    above = values > threshold
    return float(above[positive].mean() + (~above[~positive]).mean()) / 2


DEFINITIONS = (
    Metric(
        name="image_fpr95",
        title="image FPR95",
        level="image",
        formula="FPR at the first threshold, descending, with recall >= 0.95; not interpolated",
        lower_is_better=True,
        of_images=fpr95,
    ),
    Metric(
        name="image_recall_at_fpr",
        title="image recall at FPR",
        level="image",
        formula="largest recall of the ROC points with FPR <= the rate, ties taken whole; chosen by test labels",
        parameter=Parameter(what="false-positive rate", range=Range(0, 1)),
        of_images=recall_at_fpr,
    ),
    Metric(
        name="image_recall_at_precision",
        title="image recall at precision",
        level="image",
        formula="largest recall of the PR points with at least the precision; chosen by test labels",
        parameter=Parameter(what="precision", range=Range(0, 1)),
        of_images=recall_at_precision,
    ),
    Metric(
        name="image_balanced_accuracy",
        title="image balanced accuracy",
        level="image",
        formula="(TPR + TNR) / 2, anomalous where score > t",
        parameter=Parameter(what="score threshold", range=Range(), rules=(VALIDATION_RULE,)),
        of_images=balanced_accuracy,
    ),
)
