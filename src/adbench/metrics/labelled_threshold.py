"""Thresholds from labelled scores, for the rule "anomalous iff score > t". They fit the very images: no guarantee.

t lies half-way to the next lower score, so that what is at or above the chosen score is anomalous, and nothing else.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from adbench.errors import UserError
from adbench.metrics.inputs import as_scores
from adbench.metrics.ranking import curve


def threshold_at_f1max(scores: ArrayLike, labels: ArrayLike) -> float:
    """Where F1 is largest; of several such points the one with the fewest alarms."""
    return _threshold(scores, labels, None)


def threshold_at_recall(scores: ArrayLike, labels: ArrayLike, recall: float) -> float:
    """The largest threshold that finds at least the share `recall` of the anomalies.

    >>> threshold_at_recall([0, 1, 2, 4], [0, 1, 0, 1], 0.5)
    3.0
    """
    if not 0 < recall <= 1:
        raise UserError(f"recall is {recall:g}", hint="give a share above 0 and at most 1, as in recall=0.95")
    return _threshold(scores, labels, recall)


def _threshold(scores: ArrayLike, labels: ArrayLike, recall: float | None) -> float:
    values = as_scores(scores, "scores").astype(np.float64)
    for part in curve(values, labels):
        hits, alarms = part.hits[1:], part.alarms[1:]
        f1 = 2 * hits / (part.n_positives + hits + alarms)
        reached = f1 >= f1.max() if recall is None else hits >= recall * part.n_positives - 1e-9
        positives = np.unique(values[np.asarray(labels).astype(bool)])[::-1]
        chosen = positives[np.flatnonzero(reached)[0]]
        lower = values[values < chosen]
        middle = (chosen + lower.max()) / 2 if lower.size else -math.inf
        return float(middle if middle < chosen and math.isfinite(middle) else np.nextafter(chosen, -math.inf))
    raise UserError("the images are all normal, or all anomalous", hint="give labelled scores of both kinds")
