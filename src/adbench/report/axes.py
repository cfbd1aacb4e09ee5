"""Axes of small line drawings as inline SVG: nothing is fetched, colours follow the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

LEFT, RIGHT, TOP, BOTTOM = 56, 14, 26, 42  # margins
SKEWED = 1000  # largest / smallest value, from which on an axis is logarithmic

Tick = tuple[float, str]
"""A place on an axis, and the text there."""


@dataclass(frozen=True, slots=True)
class Axes:
    """A drawing of `width` x `height`; the axes run from the first to the last of their ticks."""

    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    x_title: str
    y_title: str
    width: int = 380
    height: int = 256

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

    def dot(self, x: float, y: float, style: str, title: str) -> str:
        """A point, with a title to hover over."""
        left, top = self.place(x, y)
        return f'<circle class="{style}" cx="{left:.1f}" cy="{top:.1f}" r="3"><title>{escape(title)}</title></circle>'

    def upright(self, x: float, style: str, title: str) -> str:
        """A line from bottom to top, with a title to hover over."""
        at = self.place(x, 0)[0]
        ends = f'x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{self.height - BOTTOM}"'
        return f'<line class="{style}" {ends}><title>{escape(title)}</title></line>'

    def drawing(self, parts: Iterable[str]) -> str:
        """The SVG: grid, numbers at the ticks, titles, and `parts` above them."""
        name = escape(f"{self.y_title} over {self.x_title}")
        shown = [f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{name}">']
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        for value, text in self.y_ticks:
            y = self.place(self.x_ticks[0][0], value)[1]
            shown.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            shown.append(_text(LEFT - 6, y + 4, text, "end"))
        for value, text in self.x_ticks:
            x = self.place(value, 0)[0]
            shown.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
            shown.append(_text(x, bottom + 17, text, "middle"))
        shown.append(_text(LEFT, TOP - 12, self.y_title, "start"))
        shown.append(_text((LEFT + right) / 2, self.height - 6, self.x_title, "middle"))
        return "".join([*shown, *parts, "</svg>"])


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def round_ticks(low: float, high: float) -> list[Tick]:
    """Four or so round numbers that span low to high."""
    span = (high - low) or abs(high) or 1.0
    rough = span / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = math.floor(low / step)
    count = math.ceil(high / step) - first
    return [(value, f"{value:g}") for value in (round((first + i) * step, 12) for i in range(count + 1))]


def in_powers(low: float, high: float) -> bool:
    """Whether values from low to high are shown by their logarithm to base 10."""
    return low > 0 and high / low > SKEWED


def power_ticks(low: float, high: float) -> list[Tick]:
    """Ticks between two logarithms, with the numbers that these are of."""
    return [(value, f"{10**value:.2g}") for value, _ in round_ticks(low, high)]
