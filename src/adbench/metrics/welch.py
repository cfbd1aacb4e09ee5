"""How sure a difference of two means over seeds is: Welch's t, for two independent samples of unequal variance.

It is the chance of what the seeds draw (initial weights, order, augmentation) on these test images, not that of the
images. A seed of one training has nothing to do with the same number of another, so that the samples are not paired.
B. L. Welch: Biometrika 34, 1947.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Difference(NamedTuple):
    """A difference of means (second minus first), its 95 % interval and the two-sided p of none."""

    value: float
    low: float
    high: float
    p: float


def welch(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare the means of two samples. Without two values of each, or without any spread, bounds and p are NaN."""
    from scipy.special import stdtr, stdtrit

    if min(len(first), len(second)) < 2:
        return Difference(_mean(second) - _mean(first), math.nan, math.nan, math.nan)
    value = _mean(second) - _mean(first)
    errors = [statistics.variance(sample) / len(sample) for sample in (first, second)]  # of either mean, squared
    error = sum(errors)
    if not error > 0:  # NaN too
        return Difference(value, math.nan, math.nan, math.nan)
    sizes = (len(first), len(second))
    freedom = error**2 / sum(part**2 / (size - 1) for part, size in zip(errors, sizes, strict=True))
    width = float(stdtrit(freedom, 0.975)) * math.sqrt(error)
    p = 2 * float(stdtr(freedom, -abs(value) / math.sqrt(error)))
    return Difference(value, value - width, value + width, p)


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan
