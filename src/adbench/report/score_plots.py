"""What the image scores of a class look like, as inline SVG: ROC curve, precision over recall, histogram."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adbench.metrics.ranking import Curve, curve
from adbench.report.axes import Axes, round_ticks
from adbench.report.scores import Score

N_BINS = 40
MAX_POINTS = 200  # of a curve: more are not to be seen
SKEWED = 1000  # largest / smallest score, from which on the histogram's axis is logarithmic
_SHARES = [(0.0, "0"), (0.5, "0.5"), (1.0, "1")]


def score_plots(scores: Sequence[Score], threshold: float | None) -> list[str]:
    """ROC curve, precision over recall and histogram of one class and draw; nothing where they are undefined.

    `threshold`: of the largest F1; the metrics count scores at or above it as anomalous.
    """
    known = [score for score in scores if score["score"] is not None and score["label"] in (0, 1)]
    values = np.array([score["score"] for score in known], np.float64)
    labels = np.array([score["label"] for score in known])
    whole = next(curve(values, labels), None) if np.isfinite(values).all() else None
    if whole is None:
        return []
    return [roc_plot(whole), precision_plot(whole), histogram(values[labels == 0], values[labels == 1], threshold)]


def roc_plot(whole: Curve) -> str:
    """Share of anomalous over share of normal images at or above each score; a slope where scores tie."""
    before = zip(whole.alarms_above, whole.hits[:-1], strict=True)
    after = zip(whole.alarms[1:], whole.hits[1:], strict=True)
    corners = [corner for pair in zip(before, after, strict=True) for corner in pair]
    points = [(alarms / whole.n_negatives, hits / whole.n_positives) for alarms, hits in corners]
    axes = Axes(_SHARES, _SHARES, "false-positive rate", "true-positive rate over false-positive rate")
    chance = axes.polyline([(0, 0), (1, 1)], "chance")
    return axes.drawing([chance, axes.polyline(_thinned([(0.0, 0.0), *points, (1.0, 1.0)]), "thick")])


def precision_plot(whole: Curve) -> str:
    """Precision over recall, level between the scores of anomalous images as average precision counts it."""
    recall = whole.hits / whole.n_positives
    precision = whole.hits[1:] / (whole.hits[1:] + whole.alarms[1:])
    starts, ends = zip(recall[:-1], precision, strict=True), zip(recall[1:], precision, strict=True)
    points = [(float(x), float(y)) for pair in zip(starts, ends, strict=True) for x, y in pair]
    axes = Axes(_SHARES, _SHARES, "recall", "precision over recall")
    return axes.drawing([axes.polyline(_thinned(points), "thick")])


def histogram(normal: NDArray[np.float64], anomalous: NDArray[np.float64], threshold: float | None) -> str:
    """Shares of the normal and of the anomalous images per bin of scores, and a line at the threshold."""
    values = np.concatenate([normal, anomalous])
    low, high = float(values.min()), float(values.max())
    in_powers = low > 0 and high / low > SKEWED
    if in_powers:
        low, high = math.log10(low), math.log10(high)
        normal, anomalous = np.log10(normal), np.log10(anomalous)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    ticks = round_ticks(low, high)
    if in_powers:
        ticks = [(value, f"{10**value:.2g}") for value, _ in ticks]
    edges = np.linspace(low, high, N_BINS + 1)
    shares = [np.histogram(part, edges)[0] / len(part) for part in (normal, anomalous)]
    axes = Axes(ticks, round_ticks(0.0, max(float(share.max()) for share in shares)), "score", "histogram of scores")
    parts = []
    for share, style in zip(shares, ("normal", "anomalous"), strict=True):
        steps = [(x, y) for left, right, y in zip(edges, edges[1:], share, strict=False) for x in (left, right)]
        parts.append(axes.polyline([(low, 0.0), *steps, (high, 0.0)], style))
    shown = math.nan if threshold is None else threshold
    if in_powers:
        shown = math.log10(shown) if shown > 0 else math.nan
    if low <= shown <= high:
        parts.append(axes.upright(shown, "threshold", f"threshold of the largest F1: {threshold:.4g}"))
    return axes.drawing(parts)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most about MAX_POINTS of the points, evenly taken, with the first and the last."""
    if len(points) <= MAX_POINTS:
        return list(points)
    return [points[round(i)] for i in np.linspace(0, len(points) - 1, MAX_POINTS)]
