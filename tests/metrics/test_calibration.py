"""Calibration of probabilities: bin by bin, scikit-learn's Brier score, and what is no probability."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from adbench.metrics.calibration import brier, ece


def brute_force_ece(p, y, n_bins=15):
    total = 0.0
    for k in range(n_bins):
        inside = (p >= k / n_bins) & ((p < (k + 1) / n_bins) | (k == n_bins - 1))
        if inside.any():
            total += inside.mean() * abs(p[inside].mean() - y[inside].mean())
    return total


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1.0, 1.0), (0.1, 0.1), (8.0, 0.3)])
def test_equals_brute_force(dtype, shape):
    rng = np.random.default_rng(1)
    p = rng.beta(*shape, size=400).astype(dtype)
    y = rng.random(400) < 0.3
    exact = p.astype(np.float64)
    assert ece(p, y) == pytest.approx(brute_force_ece(exact, y), abs=1e-12)
    assert brier(p, y) == pytest.approx(brier_score_loss(y, exact), abs=1e-12)


def test_scores_on_edges_belong_to_the_bin_above_and_1_to_the_last():
    p, y = np.arange(16) / 15, np.arange(16) % 2
    assert ece(p, y) == pytest.approx(brute_force_ece(p, y), abs=1e-12)
    assert ece([0.0, 1.0, 1.0], [0, 1, 1]) == 0.0
    assert ece([1.0, 14.5 / 15], [0, 1]) == pytest.approx(abs((1 + 14.5 / 15) / 2 - 0.5))


def test_one_label_is_defined():
    assert ece([0.25, 0.25], [0, 0]) == pytest.approx(0.25)
    assert brier([0.25, 0.25], [1, 1]) == pytest.approx(0.75**2)


@pytest.mark.parametrize("scores", [[0.5, 1.0001], [-1e-9, 0.5], [np.inf, 0.0], []])
def test_what_is_no_probability_is_undefined(scores):
    labels = [0, 1][: len(scores)]
    assert math.isnan(ece(scores, labels))
    assert math.isnan(brier(scores, labels))


def test_a_bin_begins_at_its_lower_edge_and_the_last_holds_1():
    assert ece([0.2, 0.25], [1, 0]) == pytest.approx(0.275)  # both in [3/15, 4/15)
    assert ece([0.2, 0.15], [1, 0]) == pytest.approx((0.8 + 0.15) / 2)
    assert ece([1.0, 0.95], [1, 0]) == pytest.approx(0.475)
