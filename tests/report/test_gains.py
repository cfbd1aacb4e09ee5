"""Differences of means over seeds: Welch's t by its formula, and nothing where there is no spread."""

from __future__ import annotations

import math
from statistics import mean, variance

import pytest
from scipy.special import stdtr, stdtrit

from adbench.report.gains import welch


@pytest.mark.parametrize("second", [[0.8, 0.9], [0.91, 0.84, 0.9, 0.88, 0.93], [0.9, 0.9]])
def test_bounds_and_p_are_those_of_welch(second):
    first = [0.7, 0.72, 0.75]
    errors = [variance(sample) / len(sample) for sample in (first, second)]
    error, value = math.sqrt(sum(errors)), mean(second) - mean(first)
    freedom = error**4 / sum(part**2 / (len(s) - 1) for part, s in zip(errors, (first, second), strict=True))
    width = stdtrit(freedom, 0.975) * error
    assert welch(first, second) == pytest.approx(
        (value - width, value + width, 2 * stdtr(freedom, -abs(value) / error))
    )


@pytest.mark.parametrize("second", [[0.9, 0.9], [math.nan, 0.9]])
def test_no_bounds_without_a_spread_or_with_an_undefined_value(second):
    assert all(map(math.isnan, welch([0.8, 0.8], second)))
