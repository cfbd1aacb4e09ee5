"""Ranking metrics from counts at the distinct positive scores: AUROC, average precision, max-F1, area under PRO.

Between two neighbouring positive scores only the false positives grow, so a `Curve` with one point per distinct
positive score holds every metric exactly, ties included:
    AUROC   share of (positive, negative) pairs in the right order, a tie counts half (Mann-Whitney)
    AP      sum of (recall step) x precision, not interpolated, as scikit-learn's `average_precision_score`
    max-F1  largest 2 TP / (positives + TP + FP), predicted positive iff score >= threshold; its threshold is always a
            positive score, and the highest where several thresholds give the same F1
    AUPRO   area under `coverage` (mean share of a region found) over FPR up to a limit, divided by the limit
A curve may come in stretches (each starts at the point where the last one ended), so memory stays bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adbench.errors import UserError
from adbench.metrics.inputs import Scores, as_binary, as_scores
from adbench.metrics.metric import column_name

Counts = NDArray[np.int64]
Reals = NDArray[np.float64]
Inside = Literal["tied", "worst", "best"]


@dataclass(frozen=True)
class Curve:
    """A stretch of a curve, thresholds descending; index 0 of the cumulative arrays is the point before the stretch."""

    hits: Counts  # (1+n,) positives at or above each threshold
    alarms: Counts  # (1+n,) negatives at or above it
    alarms_above: Counts  # (n,) negatives strictly above it
    n_positives: int
    n_negatives: int
    coverage: Reals | None = None  # (1+n,) mean over regions of the share at or above, in [0, 1]
    thresholds: Scores | None = None  # (n,) the distinct positive scores themselves, descending


def curve(scores: ArrayLike, labels: ArrayLike) -> Iterator[Curve]:
    """Yield the whole curve of `scores` (N,) and 0/1 `labels` (N,), or nothing if only one label occurs."""
    values, positive = as_scores(scores, "scores"), as_binary(labels, "labels")
    if values.ndim != 1 or values.shape != positive.shape:
        raise UserError(
            f"scores of shape {values.shape}, labels of shape {positive.shape}",
            hint="pass one label per score, both (N,)",
        )
    negatives = np.sort(values[~positive])
    thresholds, counts = np.unique(values[positive], return_counts=True)
    if not len(negatives) or not len(thresholds):
        return
    hits = np.cumsum(counts[::-1])
    thresholds = thresholds[::-1]
    yield Curve(
        hits=after(0, hits),
        alarms=after(0, len(negatives) - np.searchsorted(negatives, thresholds, "left")),
        alarms_above=len(negatives) - np.searchsorted(negatives, thresholds, "right"),
        n_positives=int(hits[-1]),
        n_negatives=len(negatives),
        thresholds=thresholds,
    )


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve of `scores` (N,) against 0/1 `labels` (N,); NaN if only one label occurs."""
    return ranking_metrics(curve(scores, labels))["auroc"]


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Step-wise average precision of `scores` (N,) against 0/1 `labels` (N,); NaN if only one label occurs."""
    return ranking_metrics(curve(scores, labels))["ap"]


def f1_max(scores: ArrayLike, labels: ArrayLike) -> float:
    """Largest F1 over all thresholds `score >= t`; NaN if only one label occurs."""
    return ranking_metrics(curve(scores, labels))["f1max"]


def ranking_metrics(
    stretches: Iterable[Curve], fpr_limits: Sequence[float] = (1.0,), inside: Inside = "tied"
) -> dict[str, float]:
    """Return auroc, ap, f1max, aupro (0 to 1) and f1max_threshold of a curve in stretches; all NaN if there is none.

    aupro is that up to the first of `fpr_limits`; further ones are aupro@0.05 and so on.
    `inside` says how scores that the curve holds for equal are counted: "tied", or in the "worst" or "best" order they
    could have had (for binned scores: bounds that hold for the scores before binning).
    """
    names = ["aupro", *(column_name("aupro", limit) for limit in fpr_limits[1:])]
    misranked = ap = f1 = 0.0
    areas = dict.fromkeys(names, 0.0)
    threshold = math.nan
    last: Curve | None = None
    for part in stretches:
        misranked += _misranked_share(part, inside)
        ap += _precision_mass(part, inside) / part.n_positives
        best, at = _best_f1(part, inside)
        f1, threshold = (best, at) if best > f1 else (f1, threshold)
        for name, limit in zip(names, fpr_limits, strict=True):
            areas[name] += math.nan if part.coverage is None else _covered_area(part, part.coverage, limit, inside)
        last = part
    if last is None:
        return dict.fromkeys(("auroc", "ap", "f1max", *names, "f1max_threshold"), math.nan)
    values = {"auroc": 1.0 - misranked, "ap": ap, "f1max": f1}
    for name, limit in zip(names, fpr_limits, strict=True):
        # beyond the lowest positive score every region is covered: level 1 up to the limit
        values[name] = (areas[name] + max(limit - float(last.alarms[-1]) / last.n_negatives, 0.0)) / limit
    shares = {name: float(np.clip(value, 0.0, 1.0)) for name, value in values.items()}  # rounding may step outside
    return {**shares, "f1max_threshold": threshold}


def after(first: float, values: NDArray[Any]) -> NDArray[Any]:
    """Put the point `first` before `values`."""
    return np.concatenate([np.asarray([first], values.dtype), values])


def _misranked_share(part: Curve, inside: Inside) -> float:
    """Share of all (positive, negative) pairs in which the negative ranks above; a tie counts half (Mann-Whitney)."""
    if inside == "tied":
        ahead = (part.alarms[1:] + part.alarms_above) / 2
    else:
        ahead = (part.alarms[1:] if inside == "worst" else part.alarms_above).astype(np.float64)
    return float(np.diff(part.hits) @ ahead) / part.n_positives / part.n_negatives


def _covered_area(part: Curve, coverage: Reals, limit: float, inside: Inside) -> float:
    """Area under `coverage` over FPR, cut at `limit`: level between positive scores, a slope across ties."""
    stop = int(np.searchsorted(part.alarms_above, limit * part.n_negatives)) + 1  # beyond lies nothing below the limit
    at = np.minimum(part.alarms[: stop + 1] / part.n_negatives, limit)  # (1+n,)
    above = np.minimum(part.alarms_above[:stop] / part.n_negatives, limit)  # (n,)
    before, rise = coverage[: len(above)], np.diff(coverage[: stop + 1])
    area = float(before @ (above - at[:-1]))
    width = at[1:] - above
    tied = np.flatnonzero(width > 0)
    if inside == "worst":
        mean_height = before[tied]
    elif inside == "best":
        mean_height = before[tied] + rise[tied]
    else:  # a slope cut by the limit has reached only the share (cut width / full width) of its rise there
        full = (part.alarms[1:][tied] - part.alarms_above[tied]) / part.n_negatives
        mean_height = before[tied] + rise[tied] * (0.5 * np.minimum(width[tied] / full, 1.0))
    return area + float(mean_height @ width[tied])


def _precision_mass(part: Curve, inside: Inside) -> float:
    """Sum over the positives of the precision at their own score."""
    new, hits = np.diff(part.hits), part.hits[1:]
    if inside == "tied":
        return float(new @ (hits / (hits + part.alarms[1:])))
    if inside == "best":
        return float(new @ (hits / (hits + part.alarms_above)))
    # negatives first, then one positive at a time: sum of (h+i)/(h+i+f), i = 1..p, is at least p - f log(1 + p/(h+f))
    alarms = part.alarms[1:]
    shortfall = alarms * np.log1p(new / np.maximum(part.hits[:-1] + alarms, 1))
    return float(np.sum(np.maximum(new - shortfall, 0.0)))


def _best_f1(part: Curve, inside: Inside) -> tuple[float, float]:
    """The largest F1 of a stretch and the highest threshold that gives it (NaN where the curve has none)."""
    # every point is a threshold one can really choose, so the "worst" order still reaches it
    alarms = part.alarms_above if inside == "best" else part.alarms[1:]
    hits = part.hits[1:]
    f1 = 2 * hits / (part.n_positives + hits + alarms)
    best = int(f1.argmax())
    return float(f1[best]), math.nan if part.thresholds is None else float(part.thresholds[best])
