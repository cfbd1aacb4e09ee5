"""Drawings of report.html as inline SVG: ROC, precision over recall, PRO, histogram of scores, loss, validation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench.metrics.pro_curve import Point
from adbench.metrics.ranking import Curve, curve
from adbench.metrics.registry import in_order, title
from adbench.report.axes import Axes, in_powers, power_ticks, round_ticks
from adbench.report.scores import Score

N_BINS = 40
MAX_POINTS = 200  # of a curve: more are not to be seen
_SHARES = [(0.0, "0"), (0.5, "0.5"), (1.0, "1")]


def line_style(number: int, count: int) -> str:
    """The CSS class of a run's lines, of `count` runs in one drawing."""
    return "thick" if count == 1 else f"thick run{number % 6}"


def score_plots(
    scores: Sequence[Sequence[Score]], pro: Sequence[Sequence[Point]], threshold: float | None = None
) -> list[str]:
    """ROC, precision over recall, PRO and, of a single run, the histogram of one class and draw; what is undefined is
    left out.

    scores, pro  per run
    threshold    of the largest F1; the metrics count scores at or above it as anomalous
    """
    parts = [_arrays(of_run) for of_run in scores]
    curves = [next(curve(*part), None) if np.isfinite(part[0]).all() else None for part in parts]
    drawings = [ranking_plots(curves)] if any(curves) else []
    shown = [drawing for pair in drawings for drawing in pair]
    if any(pro):
        shown.append(pro_plot(pro))
    if len(parts) == 1 and curves[0]:
        values, labels = parts[0]
        shown.append(histogram(values[labels == 0], values[labels == 1], threshold))
    return shown


def _arrays(scores: Sequence[Score]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores and labels of those images that have both."""
    known = [score for score in scores if score["score"] is not None and score["label"] in (0, 1)]
    values = np.array([score["score"] for score in known], np.float64)
    return values, np.array([score["label"] for score in known], np.int64)


def ranking_plots(curves: Sequence[Curve | None]) -> tuple[str, str]:
    """The ROC curve, a slope where scores tie; precision over recall, level between the scores of anomalous images as
    average precision counts it. A line for each run.
    """
    roc = Axes(_SHARES, _SHARES, "false-positive rate", "true-positive rate")
    precision = Axes(_SHARES, _SHARES, "recall", "precision")
    lines: tuple[list[str], list[str]] = ([roc.polyline([(0, 0), (1, 1)], "chance")], [])
    for number, whole in enumerate(curves):
        if whole is None:
            continue
        style = line_style(number, len(curves))
        before = zip(whole.alarms_above, whole.hits[:-1], strict=True)
        after = zip(whole.alarms[1:], whole.hits[1:], strict=True)
        corners = [corner for pair in zip(before, after, strict=True) for corner in pair]
        points = [(alarms / whole.n_negatives, hits / whole.n_positives) for alarms, hits in corners]
        lines[0].append(roc.polyline(_thinned([(0.0, 0.0), *points, (1.0, 1.0)]), style))
        recall = whole.hits / whole.n_positives
        level = whole.hits[1:] / (whole.hits[1:] + whole.alarms[1:])
        steps = [
            (float(x), float(y))
            for left, right, y in zip(recall, recall[1:], level, strict=False)
            for x in (left, right)
        ]
        lines[1].append(precision.polyline(_thinned(steps), style))
    return roc.drawing(lines[0]), precision.drawing(lines[1])


def pro_plot(curves: Sequence[Sequence[Point]]) -> str:
    """The mean share that is found of every region over the false-positive rate of pixels. A line for each run."""
    limit = max(points[-1][0] for points in curves if points)
    axes = Axes([(x, f"{x:.2g}") for x in (0.0, limit / 2, limit)], _SHARES, "false-positive rate of pixels", "PRO")
    styles = [line_style(number, len(curves)) for number in range(len(curves))]
    return axes.drawing(axes.polyline(points, style) for points, style in zip(curves, styles, strict=True) if points)


def histogram(normal: NDArray[np.float64], anomalous: NDArray[np.float64], threshold: float | None) -> str:
    """Shares of the normal and of the anomalous images per bin of scores, and a line at the threshold."""
    values = np.concatenate([normal, anomalous])
    low, high = float(values.min()), float(values.max())
    powers = in_powers(low, high)
    if powers:
        low, high = math.log10(low), math.log10(high)
        normal, anomalous = np.log10(normal), np.log10(anomalous)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, N_BINS + 1)
    shares = [np.histogram(part, edges)[0] / len(part) for part in (normal, anomalous)]
    ticks = power_ticks(low, high) if powers else round_ticks(low, high)
    axes = Axes(ticks, round_ticks(0.0, max(float(share.max()) for share in shares)), "score", "share of images")
    parts = []
    for share, style in zip(shares, ("normal", "anomalous"), strict=True):
        steps = [(x, y) for left, right, y in zip(edges, edges[1:], share, strict=False) for x in (left, right)]
        parts.append(axes.polyline([(low, 0.0), *steps, (high, 0.0)], style))
    shown = math.nan if threshold is None else threshold
    if powers:
        shown = math.log10(shown) if shown > 0 else math.nan
    if low <= shown <= high:
        parts.append(axes.upright(shown, "threshold", f"threshold of the largest F1: {threshold:.4g}"))
    return axes.drawing(parts)


def training_plots(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The loss (thin: between log points, thick: means of epochs) and each metric of the validation, over steps."""
    kinds = [[(p["step"], p["loss"]) for p in history if p["kind"] == kind] for kind in ("step", "epoch")]
    steps, epochs = ([point for point in line if math.isfinite(point[1])] for line in kinds)
    if steps or epochs:
        yield _loss_plot(_means(steps), epochs)
    checks = [point for point in history if point["kind"] == "validation"]
    for key in in_order(key for point in checks for key in point):
        lines: dict[str, list[Point]] = {}
        for point in checks:
            if key in point:
                lines.setdefault(str(point["dataset"]), []).append((point["step"], 100 * point[key]))
        values = [value for line in lines.values() for _, value in line]
        last = max(step for line in lines.values() for step, _ in line)
        axes = Axes(round_ticks(0, last), round_ticks(min(values), max(values)), "step", f"validation: {title(key)}")
        parts = []
        for number, (name, line) in enumerate(lines.items()):
            style = line_style(number, len(lines))
            parts.append(axes.polyline(line, style))
            parts += [axes.dot(step, value, style, f"{name}: {value:.1f}") for step, value in line]
        yield axes.drawing(parts)


def _loss_plot(steps: Sequence[Point], epochs: Sequence[Point]) -> str:
    losses = [loss for _, loss in [*steps, *epochs]]
    low, high = min(losses), max(losses)
    powers = in_powers(low, high)

    def height(loss: float) -> float:
        return math.log10(loss) if powers else loss

    axes = Axes(
        round_ticks(0, max(step for step, _ in [*steps, *epochs])),
        power_ticks(height(low), height(high)) if powers else round_ticks(low, high),
        "step",
        "training loss",
    )
    parts = [axes.polyline([(x, height(y)) for x, y in steps], "thin")] if len(steps) > 1 else []
    if epochs:
        parts.append(axes.polyline([(x, height(y)) for x, y in epochs], "thick"))
    for number, (step, loss) in enumerate(epochs, start=1):
        parts.append(axes.dot(step, height(loss), "thick", f"epoch {number}: {loss:.4g}"))
    return axes.drawing(parts)


def _means(points: Sequence[Point]) -> list[Point]:
    """At most MAX_POINTS points: means of neighbours."""
    size = -(-len(points) // MAX_POINTS) or 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most about MAX_POINTS of the points, evenly taken, with the first and the last."""
    if len(points) <= MAX_POINTS:
        return list(points)
    return [points[round(i)] for i in np.linspace(0, len(points) - 1, MAX_POINTS)]
