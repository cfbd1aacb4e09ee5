"""Curves and histograms of scores hold what the metrics are computed from."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from adbench.metrics.ranking import curve
from adbench.report.axes import Axes, round_ticks
from adbench.report.plots import histogram, pro_plot, ranking_plots, score_plots, training_plots

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
    expected_areas = roc_auc_score(labels, scores), average_precision_score(labels, scores)
    for svg, expected in zip(ranking_plots([whole]), expected_areas, strict=True):
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
    assert score_plots([[{"score": score, "label": 1}, {"score": 0.5, "label": 0}]], [()], 0.5) == []


def test_several_runs_have_a_line_each_and_no_histogram(made):
    values, labels = made
    scores = [{"score": value, "label": int(label)} for value, label in zip(values, labels, strict=True)]
    drawings = score_plots([scores, [], scores], [[(0.0, 0.5), (0.3, 1.0)], [], []])
    assert len(drawings) == 3
    for drawing, styles in zip(drawings, (["run0", "run2"], ["run0", "run2"], ["run0"]), strict=True):
        lines = [line.get("class") for line in ElementTree.fromstring(drawing).iter("polyline")]
        assert [line.split()[1] for line in lines if line != "chance"] == styles


def test_the_axis_of_the_pro_curve_ends_at_the_limit_of_aupro():
    svg = ElementTree.fromstring(pro_plot([[(0.0, 0.0), (0.1, 0.8), (0.3, 1.0)]]))
    assert {"0", "0.15", "0.3", "PRO"} <= {node.text for node in svg.iter("text")}
    x, y = np.array([tuple(map(float, p.split(","))) for p in svg.find("polyline").get("points").split()]).T
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(1 / 3, abs=0.01)
    assert (y[1] - y[0]) / (y[2] - y[0]) == pytest.approx(0.8, abs=0.01)


def test_ticks_are_round_and_span_the_values():
    assert [text for _, text in round_ticks(0.03, 0.97)] == ["0", "0.5", "1"]
    assert [value for value, _ in round_ticks(0, 230)] == [0, 100, 200, 300]


HISTORY = [
    *({"kind": "step", "step": step, "epoch": 1 + step // 50, "loss": 3 / step} for step in range(1, 101)),
    {"kind": "epoch", "step": 50, "epoch": 1, "loss": 0.5},
    {"kind": "validation", "step": 50, "epoch": 1, "dataset": "demo", "pixel_ap": 0.5},
    {"kind": "epoch", "step": 100, "epoch": 2, "loss": 0.2},
    {"kind": "validation", "step": 100, "epoch": 2, "dataset": "demo", "pixel_ap": 0.75},
]


def test_the_loss_is_within_its_frame_and_its_axes_have_numbers():
    loss, validation = map(ElementTree.fromstring, training_plots(HISTORY))
    lines = list(loss.iter("polyline"))
    assert [line.get("class") for line in lines] == ["thin", "thick"]
    points = [tuple(map(float, point.split(","))) for line in lines for point in line.get("points").split()]
    assert len(points) == 102
    assert all(0 <= x <= 380 and 0 <= y <= 256 for x, y in points)
    assert {"0", "50", "100", "step", "1", "2", "3", "training loss"} <= {node.text for node in loss.iter("text")}
    assert [node.text for node in validation.iter("title")] == ["demo: 50.0", "demo: 75.0"]
    assert "validation: pixel AP" in {node.text for node in validation.iter("text")}


def test_a_loss_over_many_powers_has_an_axis_of_powers():
    (svg,) = training_plots([{"kind": "epoch", "step": 10 * n, "epoch": n, "loss": 10.0**-n} for n in range(1, 6)])
    assert "1e-05" in svg
    heights = [float(node.get("cy")) for node in ElementTree.fromstring(svg).iter("circle")]
    assert np.diff(heights) == pytest.approx(np.diff(heights)[0], abs=0.2)


@pytest.mark.parametrize("history", [[], [{"kind": "step", "step": 1, "loss": float("nan")}]])
def test_no_curve_without_finite_points(history):
    assert list(training_plots(history)) == []


def test_one_point_makes_a_curve():
    (svg,) = training_plots([{"kind": "epoch", "step": 3, "epoch": 1, "loss": 0.0}])
    assert "<circle" in svg
