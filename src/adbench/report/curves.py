"""The loss curve of a training as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 30  # margins
MAX_POINTS = 400


def loss_curve(history: Sequence[Mapping[str, Any]]) -> str:
    """SVG of the loss (thin: between log points, thick: epoch means) over steps; empty without points."""
    steps = _thinned([(point["step"], point["loss"]) for point in history if point["kind"] == "step"])
    epochs = [(point["step"], point["loss"]) for point in history if point["kind"] == "epoch"]
    points = [point for point in steps + epochs if math.isfinite(point[1])]
    if not points:
        return ""
    last = max(step for step, _ in points)
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def place(step: float, loss: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / ((high - low) or 1.0)
        return f"{x:.1f},{y:.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="training loss over steps">']
    for tick in ticks:
        y = place(0, tick).split(",")[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y}" text-anchor="end" dominant-baseline="middle">{tick:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">step {last:.0f}</text>')
    if len(steps) > 1:
        parts.append(f'<polyline class="thin" points="{" ".join(place(*point) for point in steps)}"/>')
    if epochs:
        parts.append(f'<polyline class="thick" points="{" ".join(place(*point) for point in epochs)}"/>')
    for number, point in enumerate(epochs, start=1):
        x, y = place(*point).split(",")
        title = escape(f"epoch {number}: {point[1]:.4g}")
        parts.append(f'<circle cx="{x}" cy="{y}" r="3"><title>{title}</title></circle>')
    return "".join([*parts, "</svg>"])


def _thinned(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """At most MAX_POINTS points: means of neighbours."""
    size = -(-len(points) // MAX_POINTS) or 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(s for s, _ in group) / len(group), sum(v for _, v in group) / len(group)) for group in groups]


def _ticks(low: float, high: float) -> list[float]:
    """Four or so round numbers that span low to high."""
    span = (high - low) or abs(high) or 1.0
    rough = span / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = math.floor(low / step)
    count = math.ceil(high / step) - first
    return [round((first + i) * step, 12) for i in range(count + 1)]
