"""Figures at one point of the ROC or PR curve, against scikit-learn's curves and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_recall_curve, roc_curve

from adbench.metrics.operating_points import balanced_accuracy, fpr95, recall_at_fpr, recall_at_precision
from metrics.reference import INPUTS


def drawn(name, n=90):
    rng = np.random.default_rng([sum(map(ord, name)), 4])
    labels = rng.random((1, 1, n)) < 0.4
    return INPUTS[name](rng, labels).ravel(), labels.ravel()


@pytest.mark.parametrize("name", INPUTS)
def test_equals_scikit_learn(name):
    scores, labels = drawn(name)
    exact = scores.astype(np.float64)
    fpr, tpr, _ = roc_curve(labels, exact, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(labels, exact)

    assert fpr95(scores, labels) == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=1e-12)
    for rate in (0.0, 0.05, 0.2, 1.0):
        assert recall_at_fpr(scores, labels, rate) == pytest.approx(tpr[fpr <= rate].max(), abs=1e-12)
    for least in (0.0, 0.5, 0.9, 1.0):  # scikit-learn's last point, precision 1 at recall 0, is the same as none
        expected = recall[precision >= least].max()
        assert recall_at_precision(scores, labels, least) == pytest.approx(expected, abs=1e-12)
    threshold = float(np.median(exact))
    expected = balanced_accuracy_score(labels, exact > threshold)
    assert balanced_accuracy(scores, labels, threshold) == pytest.approx(expected, abs=1e-12)


def test_ties_are_taken_whole():
    scores, labels = [0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]
    assert recall_at_fpr(scores, labels, 0.0) == 0.5
    assert recall_at_fpr(scores, labels, 0.5) == 1.0
    assert fpr95(scores, labels) == 0.5
    assert balanced_accuracy(scores, labels, 0.5) == 0.75  # 0.5 is not above 0.5


@pytest.mark.parametrize(("n", "missed"), [(19, 0), (20, 1), (40, 2), (60, 3)])
def test_95_percent_of_few_images(n, missed):
    """The lowest anomalies, as many as may be missed, lie below the one normal image; one more lies at it."""
    scores = np.concatenate([np.linspace(1, 2, n - missed), np.linspace(-2, -1, missed), [0.0]])
    assert fpr95(scores, [1] * n + [0]) == 0.0
    scores[0] = -3.0
    assert fpr95(scores, [1] * n + [0]) == 1.0


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], []])
def test_one_label_is_undefined(labels):
    scores = np.arange(len(labels), dtype=float)
    assert math.isnan(fpr95(scores, labels))
    assert math.isnan(recall_at_fpr(scores, labels, 0.1))
    assert math.isnan(recall_at_precision(scores, labels, 0.1))
    assert math.isnan(balanced_accuracy(scores, labels, 0.5))


def test_no_threshold_is_undefined():
    assert math.isnan(balanced_accuracy([0.1, 0.9], [0, 1], math.nan))
