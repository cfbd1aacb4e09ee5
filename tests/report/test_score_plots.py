"""Curves and histograms of scores hold what the metrics are computed from."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from adbench.metrics.ranking import curve
from adbench.report.axes import Axes, round_ticks
from adbench.report.score_plots import histogram, precision_plot, roc_plot, score_plots

SHARES = [(0.0, "0"), (1.0, "1")]


def points(svg, style):
    """The points of a line, back in [0, 1]."""
    node = next(n for n in ElementTree.fromstring(svg).iter("polyline") if n.get("class") == style)
    places = np.array([tuple(map(float, point.split(","))) for point in node.get("points").split()])
    axes = Axes(SHARES, SHARES, "", "")
    origin, corner = np.array(axes.place(0, 0)), np.array(axes.place(1, 1))
    return (places - origin) / (corner - origin)


@pytest.fixture
def made():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3 == 0
    return np.round(random.normal(size=60) + labels, 1), labels  # with ties


def test_areas_below_the_curves_are_the_metrics(made):
    scores, labels = made
    whole = next(curve(scores, labels))
    for svg, expected in (
        (roc_plot(whole), roc_auc_score(labels, scores)),
        (precision_plot(whole), average_precision_score(labels, scores)),
    ):
        assert np.trapezoid(*points(svg, "thick").T[::-1]) == pytest.approx(expected, abs=0.003)  # a tenth of a pixel


def test_a_histogram_shows_shares_of_both_kinds_and_the_threshold():
    svg = histogram(np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.0, 1.0]), 0.5)
    heights = {style: points(svg, style)[:, 1].max() for style in ("normal", "anomalous")}
    assert heights == pytest.approx({"normal": 0.75, "anomalous": 1.0}, abs=0.01)
    line = next(n for n in ElementTree.fromstring(svg).iter("line") if n.get("class") == "threshold")
    assert float(line.get("x1")) == pytest.approx(Axes(SHARES, SHARES, "", "").place(0.5, 0)[0], abs=0.1)


def test_scores_that_pile_up_near_zero_have_an_axis_of_powers():
    svg = histogram(np.array([1e-8, 1e-7]), np.array([0.5, 1.0]), 1e-4)
    assert "1e-08" in svg
    assert 'class="threshold"' in svg


@pytest.mark.parametrize("value", [0.0, -3.0, 7.0])
def test_equal_scores_make_a_histogram(value):
    ElementTree.fromstring(histogram(np.full(2, value), np.full(2, value), value))


@pytest.mark.parametrize("score", [None, float("inf")])
def test_no_plots_where_a_score_is_missing_or_infinite(score):
    assert score_plots([{"score": score, "label": 1}, {"score": 0.5, "label": 0}], 0.5) == []


def test_ticks_are_round_and_span_the_values():
    assert [text for _, text in round_ticks(0.03, 0.97)] == ["0", "0.5", "1"]
    assert [value for value, _ in round_ticks(0, 230)] == [0, 100, 200, 300]
