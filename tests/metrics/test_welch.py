"""Differences of means over seeds: as SciPy's t test of unequal variances, and nothing where there is no spread."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adbench.metrics.welch import welch


@pytest.mark.parametrize("sizes", [(2, 2), (3, 5), (5, 2)])
def test_bounds_and_p_are_those_of_scipy(sizes):
    from scipy.stats import ttest_ind

    random = np.random.default_rng(sum(sizes))
    first, second = (random.normal(0.8, spread, size) for spread, size in zip((0.01, 0.05), sizes, strict=True))
    found, expected = welch(list(first), list(second)), ttest_ind(second, first, equal_var=False)
    bounds = expected.confidence_interval(0.95)
    assert found == pytest.approx((second.mean() - first.mean(), bounds.low, bounds.high, expected.pvalue))


def test_a_single_seed_tells_no_spread():
    found = welch([0.8], [0.9, 0.7, 0.95])
    assert found.value == pytest.approx(0.05)
    assert all(map(math.isnan, found[1:]))


@pytest.mark.parametrize("second", [[0.9, 0.9], [math.nan, 0.9]])
def test_no_bounds_without_a_spread_or_with_an_undefined_value(second):
    assert all(map(math.isnan, welch([0.8, 0.8], second)[1:]))
