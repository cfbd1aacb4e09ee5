"""The loss curve of a training as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from adbench.report.axes import Axes, round_ticks

MAX_POINTS = 400


def loss_curve(history: Sequence[Mapping[str, Any]]) -> str:
    """SVG of the loss (thin: between log points, thick: epoch means) over steps; empty without points."""
    steps = _thinned([(point["step"], point["loss"]) for point in history if point["kind"] == "step"])
    epochs = [(point["step"], point["loss"]) for point in history if point["kind"] == "epoch"]
    steps, epochs = ([point for point in line if math.isfinite(point[1])] for line in (steps, epochs))
    if not steps and not epochs:
        return ""
    losses = [loss for _, loss in [*steps, *epochs]]
    axes = Axes(
        x_ticks=round_ticks(0, max(step for step, _ in [*steps, *epochs])),
        y_ticks=round_ticks(min(losses), max(losses)),
        x_title="step",
        name="training loss over steps",
        width=720,
    )
    parts = [axes.polyline(steps, "thin")] if len(steps) > 1 else []
    if epochs:
        parts.append(axes.polyline(epochs, "thick"))
    for number, point in enumerate(epochs, start=1):
        x, y = axes.place(*point)
        title = escape(f"epoch {number}: {point[1]:.4g}")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{title}</title></circle>')
    return axes.drawing(parts)


def _thinned(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """At most MAX_POINTS points: means of neighbours."""
    size = -(-len(points) // MAX_POINTS) or 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(s for s, _ in group) / len(group), sum(v for _, v in group) / len(group)) for group in groups]
