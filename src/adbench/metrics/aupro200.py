"""AUPRO as the AnomalyCLIP and FAPrompt tables have it: 200 evenly spaced thresholds, a rescaled FPR axis.

Source: metrics.py of zqhang/AnomalyCLIP and mala-lab/FAPrompt (one function). At threshold t a pixel counts if its
score is > t; points with FPR < limit are kept, their FPR is stretched to [0, 1], and the area under PRO is a trapezoid
sum. No point is added at FPR 0 or at the limit, so coarse maps give values far from the exact AUPRO, or NaN: it is for
parity with those tables. The grid depends on NumPy's promotion rules: "numpy1" is what the authors used.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from adbench.metrics.exact import ExactPixels
from adbench.metrics.inputs import Scores
from adbench.metrics.ranking import Reals

Grid = Literal["numpy1", "numpy2"]
GRIDS: tuple[Grid, ...] = get_args(Grid)
N_STEPS = 200


class ThresholdCurve(NamedTuple):
    """The curve before points are dropped: thresholds rise, FPR and PRO fall."""

    thresholds: Reals  # (T,) 200, sometimes 201; none if the scores span no finite range
    fprs: Reals  # (T,)
    pros: Reals  # (T,)


def threshold_curve(pixels: ExactPixels, grid: Grid) -> ThresholdCurve:
    """Evaluate FPR and PRO on the authors' thresholds."""
    low, high = pixels.span()
    thresholds = _thresholds(low, high, grid)
    return ThresholdCurve(thresholds, *pixels.above(_comparable(thresholds, low.dtype, grid)))


def area(curve: ThresholdCurve, limit: float) -> float:
    """Area under PRO over the stretched FPR of the points with FPR < limit; NaN where those span no range."""
    below_limit = curve.fprs < limit
    fprs, pros = curve.fprs[below_limit], curve.pros[below_limit]
    if not len(fprs) or fprs[0] == fprs[-1]:
        return float("nan")
    stretched = (fprs - fprs[-1]) / (fprs[0] - fprs[-1])
    return float(np.sum((stretched[:-1] - stretched[1:]) * (pros[:-1] + pros[1:]) / 2))


def _thresholds(low: Any, high: Any, grid: Grid) -> Reals:
    """Return numpy.arange(low, high, (high - low) / 200) in the arithmetic of that NumPy (low, high: NumPy scalars)."""
    dtype = type(low)
    with np.errstate(over="ignore", invalid="ignore"):
        extent = high - low  # rounded to the scores' own type
    if not 0 < extent < np.inf:
        return np.zeros(0)
    step = float(extent) / N_STEPS if grid == "numpy1" else float(extent / dtype(N_STEPS))
    if step == 0:
        return np.zeros(0)
    if grid == "numpy1":
        count, second = float(extent) / step, float(low) + step
    else:
        count, second = float(extent / dtype(step)), float(low + dtype(step))
    steps = np.arange(math.ceil(count), dtype=np.float64)
    return float(low) + steps * (second - float(low))


def _comparable(thresholds: Reals, dtype: np.dtype[Any], grid: Grid) -> Scores:
    """Return values of the scores' type such that score > value exactly where the authors' score > threshold holds."""
    rounded: Scores = thresholds.astype(dtype)
    if grid == "numpy1":  # compares with the rounded threshold
        return rounded
    # numpy2 compares in float64; the largest float32 at or below t separates float32 scores just as t does
    below: Scores = np.nextafter(rounded, dtype.type(-np.inf))
    return np.where(rounded > thresholds, below, rounded)
