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
from adbench.metrics.ranking import curve

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
