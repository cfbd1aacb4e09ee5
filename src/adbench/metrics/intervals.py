"""How sure an image metric is: bootstrap intervals over images, DeLong's variance of the AUROC, paired comparisons.

All of it is the chance of the test images alone: not of seeds, support sets or training.

Bootstrap   within a class as many anomalous and as many normal images as there are are drawn with replacement, so both
            labels always occur; a draw is a whole number per image. The 95 % interval lies between the percentiles 2.5
            and 97.5 of the metric over the draws. Several scores of the same images share the draws: they are paired.
            Images that belong together (views of a part) are drawn together where `clusters` says which.
DeLong      A = mean of psi over pairs of an anomalous X_i and a normal Y_j, psi = 1, 1/2, 0 for X >, =, < Y;
            V10_i and V01_j are its means over j and over i, var(A) = S10/m + S01/n with their sample variances.
            E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson: Biometrics 44, 1988.
NaN where a value is not defined: one label only; for DeLong a single image of a label too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adbench.errors import UserError
from adbench.metrics.inputs import Mask, as_binary, as_scores
from adbench.metrics.ranking import Counts, Reals

METRICS = ("image_auroc", "image_ap", "image_f1max")
RESAMPLES = 2000
PERCENTILES = (2.5, 97.5)
_NORMAL = 1.96  # standard deviations on either side of a 95 % interval
_ROUNDING = 1e-12  # a difference below is none
_BLOCK = 1 << 18  # numbers that are worked on at a time


class Auroc(NamedTuple):
    """An AUROC and DeLong's variance of it."""

    value: float
    variance: float


class Paired(NamedTuple):
    """A difference of two AUROCs on the same images (second minus first), its z by DeLong, two-sided p."""

    difference: float
    z: float
    p: float


def resamples(
    labels: ArrayLike,
    generator: np.random.Generator,
    *,
    n: int = RESAMPLES,
    clusters: ArrayLike | None = None,
) -> Iterator[Counts]:
    """Yield, in blocks of rows, how often each image occurs in each of `n` draws: (b, N) whole numbers.

    labels    (N,) 0/1
    clusters  (N,) which images belong together: whole clusters are drawn, those with an anomalous image apart from
              those without. None: every image is its own
    """
    positive = as_binary(labels, "labels")
    groups = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    anomalous = positive.copy()  # of each unit that is drawn
    if groups is not None:
        anomalous = np.zeros(int(groups.max(initial=-1)) + 1, np.bool_)
        anomalous[groups[positive]] = True
    strata = [
        (np.flatnonzero(anomalous == kind), stream)
        for kind, stream in zip((True, False), generator.spawn(2), strict=True)
    ]
    step = max(1, _BLOCK // max(1, len(positive)))
    for begin in range(0, n, step):
        counts = np.empty((min(step, n - begin), len(anomalous)), np.int64)
        for members, stream in strata:
            counts[:, members] = _drawn(len(members), len(counts), stream)
        yield counts if groups is None else counts[:, groups]


def _drawn(k: int, n: int, generator: np.random.Generator) -> Counts:
    """How often each of `k` things occurs in `n` draws of k with replacement, (n, k)."""
    picked = generator.integers(0, k, (n, k)) if k else np.zeros((n, 0), np.int64)
    return np.bincount((picked + k * np.arange(n)[:, None]).ravel(), minlength=n * k).reshape(n, k)


def bootstrap(
    scores: Sequence[ArrayLike],
    labels: ArrayLike,
    generator: np.random.Generator,
    *,
    n: int = RESAMPLES,
    clusters: ArrayLike | None = None,
) -> dict[str, Reals]:
    """The values of METRICS, each (R, n): of R kinds of `scores`, each (N,), of the same images in the same n draws."""
    positive = as_binary(labels, "labels")
    ranked = [_Ranked(values, positive) for values in scores]
    if positive.all() or not positive.any():
        return {metric: np.full((len(ranked), n), math.nan) for metric in METRICS}
    blocks: dict[str, list[Reals]] = {metric: [] for metric in METRICS}
    for weights in resamples(positive, generator, n=n, clusters=clusters):
        for metric, values in zip(
            METRICS, zip(*(scored.measured(weights) for scored in ranked), strict=True), strict=True
        ):
            blocks[metric].append(np.stack(values))
    return {metric: np.concatenate(parts, axis=1) for metric, parts in blocks.items()}


class _Ranked:
    """Scores (N,) of 0/1 labels (N,), sorted once, to be measured with many weights of the images.

    As in `ranking`, the curve has a point per distinct score of an anomalous image.
    """

    def __init__(self, scores: ArrayLike, positive: Mask) -> None:
        values = as_scores(scores, "scores")
        _check_shapes(values, positive)
        order = np.argsort(-values.astype(np.float64), kind="stable")
        self._anomalous, self._normal = order[positive[order]], order[~positive[order]]  # images, scores falling
        thresholds, counts = np.unique(-values[self._anomalous], return_counts=True)
        self._ends = np.cumsum(counts)  # how many anomalous images lie at or above each threshold
        normal = -values[self._normal]
        self._at, self._above = (np.searchsorted(normal, thresholds, side) for side in ("right", "left"))

    def measured(self, weights: Counts) -> tuple[Reals, Reals, Reals]:
        """AUROC, AP and max-F1, each (b,), as of the images repeated `weights` (b, N) times."""
        hits, alarms = _cumulated(weights[:, self._anomalous]), _cumulated(weights[:, self._normal])
        m, n = hits[:, -1], alarms[:, -1]
        hits, at, above = hits[:, self._ends], alarms[:, self._at], alarms[:, self._above]  # (b, thresholds)
        new = np.diff(hits, axis=1, prepend=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            auroc = 1 - (new * (at + above)).sum(axis=1) / (2 * m * n)
            ap = (new * (hits / np.maximum(hits + at, 1))).sum(axis=1) / m
            f1 = (2 * hits / (m[:, None] + hits + at)).max(axis=1)
        undefined = (m == 0) | (n == 0)
        for values in (auroc, ap, f1):
            values[undefined] = math.nan
        return auroc, ap, f1


def _cumulated(weights: Counts) -> Counts:
    """The sums of the first 0, 1, ... weights of each row, (b, 1 + N)."""
    sums = np.zeros((len(weights), weights.shape[1] + 1), np.int64)
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def interval(values: Reals) -> tuple[float, float]:
    """The 95 % percentile interval of a metric's values over draws, (n,); (NaN, NaN) where none is defined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.percentile(defined, PERCENTILES)
    return float(low), float(high)


def bootstrap_p(differences: Reals) -> float:
    """Two-sided p of no difference, from paired differences (n,) over draws: at least 2 / (n + 1); NaN without any."""
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return math.nan
    share = min(float(np.mean(defined <= _ROUNDING)), float(np.mean(defined >= -_ROUNDING)))
    return min(1.0, max(2 * share, 2 / (len(defined) + 1)))


def delong(scores: ArrayLike, labels: ArrayLike) -> Auroc:
    """AUROC of scores (N,) against 0/1 labels (N,) and DeLong's variance, undefined with a single image of a label."""
    wins, losses = _pairs(scores, labels)
    return Auroc(_area(wins, losses), _variance(wins, losses))


def delong_interval(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """The 95 % interval by DeLong on the logit scale, mapped back; NaN where undefined, and for an AUROC of 0 or 1."""
    area, variance = delong(scores, labels)
    if math.isnan(variance) or area in (0.0, 1.0):
        return math.nan, math.nan
    centre, width = math.log(area / (1 - area)), _NORMAL * math.sqrt(variance) / (area * (1 - area))
    return _logistic(centre - width), _logistic(centre + width)


def delong_paired(first: ArrayLike, second: ArrayLike, labels: ArrayLike) -> Paired:
    """Compare the AUROCs of two scores (N,) of the same images in the same order.

    Two AUROCs that are equal with variance 0 do not differ: z = 0, p = 1. Where they differ with variance 0 (no image
    speaks against it, as of 1 and 0), z and p are undefined: NaN.
    """
    wins, losses = (b - a for a, b in zip(_pairs(first, labels), _pairs(second, labels), strict=True))
    difference, variance = _area(wins, losses), _variance(wins, losses)  # v11 + v22 - 2 v12
    if variance == 0.0:
        return Paired(difference, 0.0, 1.0) if difference == 0.0 else Paired(difference, math.nan, math.nan)
    z = difference / math.sqrt(variance)  # NaN where the variance is
    return Paired(difference, z, math.erfc(abs(z) / math.sqrt(2)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's step-down rule; NaN stays NaN and does not count."""
    defined = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    corrected, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, index) in enumerate(defined):
        largest = max(largest, min(1.0, (len(defined) - rank) * p))
        corrected[index] = largest
    return corrected


def _pairs(scores: ArrayLike, labels: ArrayLike) -> tuple[Counts, Counts]:
    """Twice the pairs in the right order, ties counting half, of each anomalous image (m,) and each normal one (n,).

    They are 2n V10 and 2m V01: whole numbers, so that a variance of 0 is told from a small one.
    """
    values, positive = as_scores(scores, "scores"), as_binary(labels, "labels")
    _check_shapes(values, positive)
    anomalous, normal = np.sort(values[positive]), np.sort(values[~positive])
    wins = np.searchsorted(normal, values[positive], "left") + np.searchsorted(normal, values[positive], "right")
    losses = np.searchsorted(anomalous, values[~positive], "left") + np.searchsorted(
        anomalous, values[~positive], "right"
    )
    return wins, 2 * len(anomalous) - losses


def _area(wins: Counts, losses: Counts) -> float:
    m, n = len(wins), len(losses)
    return int(wins.sum()) / (2 * m * n) if m and n else math.nan


def _variance(wins: Counts, losses: Counts) -> float:
    m, n = len(wins), len(losses)
    if m < 2 or n < 2:
        return math.nan
    return _sample_variance(wins) / (4 * n * n * m) + _sample_variance(losses) / (4 * m * m * n)


def _sample_variance(counts: Counts) -> float:
    k, total, squares = len(counts), int(counts.sum()), int((counts**2).sum())
    return (k * squares - total**2) / (k * (k - 1))


def _check_shapes(scores: NDArray[np.floating], positive: Mask) -> None:
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise UserError(
            f"scores of shape {scores.shape}, labels of shape {positive.shape}",
            hint="pass one label per score, both (N,)",
        )


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
