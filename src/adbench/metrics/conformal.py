"""Split conformal thresholds: from n normal scores alone, with a false-positive rate that is guaranteed for finite n.

Of n scores of held-out normal images the k-th smallest is the threshold t, and an image is anomalous iff its score is
strictly above t. Two rules give k for a target rate a:
    confidence 1 - d   the largest r = n - k with P(Binomial(n, a) <= r) <= d: of all calibration sets at most the share
                       d gives a threshold with a rate above a
    "average"          k = ceil((n + 1)(1 - a)): the rate is at most a on average over calibration sets; that of one
                       set follows Beta(n + 1 - k, k)
Both hold for images that are exchangeable with the calibration images (same camera, light, product), none of which was
used to fit the method. Neither says how many anomalies are found. Ties make them more conservative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from adbench.errors import UserError
from adbench.metrics.inputs import as_scores

Confidence = float | Literal["average"]
_ROUNDING = 1e-9  # (n + 1)(1 - a) of a decimal fraction a may lie this far above the whole number that is meant


@dataclass(frozen=True, slots=True)
class ConformalThreshold:
    """A threshold from `n` scores of normal images, `n_above` of which lie strictly above it (fewer where scores tie).

    Alarm iff score > value.
    """

    value: float
    n: int
    n_above: int
    fpr: float
    confidence: Confidence


def conformal_threshold(scores: ArrayLike, fpr: float, confidence: Confidence = 0.95) -> ConformalThreshold:
    """The smallest threshold that keeps the false-positive rate at or below `fpr`, from scores (n,) of normal images.

    Raises UserError where n is too small, naming the number needed and the rate that n supports.

        >>> conformal_threshold(range(30), fpr=0.1)
        ConformalThreshold(value=29.0, n=30, n_above=0, fpr=0.1, confidence=0.95)
        >>> conformal_threshold(range(30), fpr=0.1, confidence="average").value
        27.0
    """
    values = np.sort(as_scores(scores, "normal scores").astype(np.float64).ravel())
    if not np.isfinite(values).all():
        raise UserError("a normal image's score is infinite", where="calibration", hint="check the weights")
    require_enough(len(values), fpr, confidence)
    value = float(values[conformal_rank(len(values), fpr, confidence) - 1])
    return ConformalThreshold(value, len(values), int((values > value).sum()), fpr, confidence)


def require_enough(n: int, fpr: float, confidence: Confidence = 0.95) -> None:
    """Raise UserError where no threshold from n normal images keeps the promise."""
    needed = smallest_n(fpr, confidence)
    if n < needed:
        promise = "on average" if confidence == "average" else f"with confidence {confidence:g}"
        enough = "" if n < smallest_n(fpr, "average") else "; confidence=average, a weaker promise, does with these"
        supported = "no rate" if n < 1 else f"no rate below {_rounded_up(supported_fpr(n, confidence)):g}"
        raise UserError(
            f"n = {n} normal images supports {supported} {promise}",
            where=f"fpr={fpr:g}",
            hint=f"give at least {needed} normal images, or a larger fpr{enough}",
        )


def conformal_rank(n: int, fpr: float, confidence: Confidence = 0.95) -> int:
    """Which of n sorted scores is the threshold, counted from 1; above n where none is."""
    _check(fpr, confidence)
    if confidence == "average":
        return max(1, math.ceil((n + 1) * (1 - fpr) - _ROUNDING))
    from scipy.special import betainc

    r = np.arange(n)
    at_most = betainc(n - r, r + 1, 1 - fpr)  # P(Binomial(n, fpr) <= r), rising
    n_above = int(np.searchsorted(at_most, 1 - confidence + _ROUNDING, "right")) - 1
    return n - n_above


def smallest_n(fpr: float, confidence: Confidence = 0.95) -> int:
    """How many normal images a rate takes; the threshold is then the largest score.

    >>> [smallest_n(fpr) for fpr in (0.1, 0.05, 0.02, 0.01, 0.005)]
    [29, 59, 149, 299, 598]
    """
    _check(fpr, confidence)
    if confidence == "average":
        return max(1, math.ceil(1 / fpr - 1 - _ROUNDING))
    return max(1, math.ceil(math.log(1 - confidence) / math.log1p(-fpr) - _ROUNDING))


def supported_fpr(n: int, confidence: Confidence = 0.95) -> float:
    """The smallest rate that n normal images support."""
    if confidence == "average":
        return 1 / (n + 1)
    return -math.expm1(math.log(1 - confidence) / n)


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a rate of which `hits` of `n` were seen; (0, 1) for n = 0."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return low, high


def _check(fpr: float, confidence: Confidence) -> None:
    if not 0 < fpr < 1:
        raise UserError(f"fpr is {fpr}", hint="give a rate between 0 and 1, as in fpr=0.01")
    if confidence != "average" and not (isinstance(confidence, (int, float)) and 0 < confidence < 1):
        raise UserError(f"confidence is {confidence}", hint="give a share between 0 and 1, as in 0.95, or average")


def _rounded_up(rate: float) -> float:
    """To three digits, so that the rate as printed is supported too."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 2)
    return math.ceil(rate / step - _ROUNDING) * step
