"""Axes of small line drawings as inline SVG: nothing is fetched, colours follow the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

LEFT, RIGHT, TOP, BOTTOM = 56, 14, 10, 42  # margins


@dataclass(frozen=True, slots=True)
class Axes:
    """A drawing of `width` x `height`; the axes run from the first to the last of their ticks (value, text)."""

    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    x_title: str
    name: str
    width: int = 380
    height: int = 240

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point stands in the drawing."""
        left, right = self.x_ticks[0][0], self.x_ticks[-1][0]
        low, high = self.y_ticks[0][0], self.y_ticks[-1][0]
        return (
            LEFT + (self.width - LEFT - RIGHT) * (x - left) / ((right - left) or 1.0),
            TOP + (self.height - TOP - BOTTOM) * (high - y) / ((high - low) or 1.0),
        )

    def polyline(self, points: Iterable[tuple[float, float]], style: str) -> str:
        """A line through points, of a CSS class."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.place(*point) for point in points))
        return f'<polyline class="{style}" points="{places}"/>'

    def upright(self, x: float, style: str, title: str) -> str:
        """A line from bottom to top, with a title to hover over."""
        at = self.place(x, 0)[0]
        ends = f'x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{self.height - BOTTOM}"'
        return f'<line class="{style}" {ends}><title>{escape(title)}</title></line>'

    def drawing(self, parts: Iterable[str]) -> str:
        """The SVG: grid, numbers at the ticks, and `parts` above them."""
        shown = [f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self.name)}">']
        for value, text in self.y_ticks:
            y = self.place(self.x_ticks[0][0], value)[1]
            shown.append(f'<line class="grid" x1="{LEFT}" x2="{self.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            shown.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
        for value, text in self.x_ticks:
            x = self.place(value, 0)[0]
            shown.append(
                f'<text x="{x:.1f}" y="{self.height - BOTTOM + 16}" text-anchor="middle">{escape(text)}</text>'
            )
        middle = (LEFT + self.width - RIGHT) / 2
        shown.append(f'<text x="{middle}" y="{self.height - 6}" text-anchor="middle">{escape(self.x_title)}</text>')
        return "".join([*shown, *parts, "</svg>"])


def round_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Four or so round numbers that span low to high."""
    span = (high - low) or abs(high) or 1.0
    rough = span / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = math.floor(low / step)
    count = math.ceil(high / step) - first
    return [(value, f"{value:g}") for value in (round((first + i) * step, 12) for i in range(count + 1))]
