"""Defects: each is a function (scene, rng) -> (colours with the defect (H, W, 3), support (H, W) in [0, 1]).

Sizes are in pixels of a 96 px picture and grow with it. Tones are taken from the surface's own range, so that a defect
is told by its form and its edges rather than by a colour that occurs nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .frame import luminance, mix
from .noise import sample


@dataclass(frozen=True)
class Scene:
    """A surface before light and camera: colours (H, W, 3), what lies behind an object (None for a texture), both in
    [0, 1], and where defects may lie (H, W) bool.
    """

    rgb: np.ndarray
    background: np.ndarray | None
    region: np.ndarray

    @property
    def unit(self) -> float:
        """One pixel of a 96 px picture, in pixels of this one."""
        return float(self.region.shape[0] / 96)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates (x, y), each (H, W) float32."""
        y, x = np.mgrid[: self.region.shape[0], : self.region.shape[1]].astype(np.float32)
        return x, y

    def place(self, rng: np.random.Generator) -> tuple[float, float]:
        """A random point (x, y) of the region, away from the picture's border where possible."""
        n = self.region.shape[0]
        inner = np.zeros_like(self.region)
        m = int(n * 0.12)
        inner[m : n - m, m : n - m] = True
        spots = np.flatnonzero(self.region & inner)
        if not len(spots):
            spots = np.flatnonzero(self.region)
        y, x = divmod(int(spots[rng.integers(len(spots))]), n)
        return float(x), float(y)

    def tone(self, rng: np.random.Generator, *, dark: bool) -> np.ndarray:
        """A colour (3,) from the dark or the light end of the surface's own tones, pushed a little outwards."""
        pixels = self.rgb[self.region][:: max(1, int(self.region.sum()) // 400)]
        order = np.argsort(luminance(pixels), kind="stable")
        at = int(rng.uniform(0.02, 0.12) * len(order))
        colour = pixels[order[at if dark else -1 - at]]
        tone: np.ndarray = np.clip(colour * (0.85 if dark else 1.03) + (0 if dark else 0.02), 0.02, 0.98)
        return tone


Defect = Callable[[Scene, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def _line(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance (H, W) to the polyline ``points`` (N, 2) and the position 0..1 along it."""
    x, y = scene.grid()
    best = np.full(x.shape, 1e9, np.float32)
    side, along = np.zeros_like(best), np.zeros_like(best)
    for k, (a, b) in enumerate(pairwise(points)):
        du, dv = (b - a).astype(np.float32)
        length2 = float(du * du + dv * dv) + 1e-6
        t = np.clip(((x - a[0]) * du + (y - a[1]) * dv) / length2, 0, 1)
        distance = np.hypot(x - a[0] - t * du, y - a[1] - t * dv)
        nearer = distance < best
        best = np.where(nearer, distance, best)
        side = np.where(nearer, np.sign((x - a[0]) * dv - (y - a[1]) * du), side)
        along = np.where(nearer, (k + t) / (len(points) - 1), along)
    return best * np.where(side == 0, 1, side), along


def _path(
    rng: np.random.Generator, start: np.ndarray, length: float, n: int, turn: float, jag: float = 0.0
) -> np.ndarray:
    """A random walk (n + 1, 2) centred on ``start``: ``turn`` bends smoothly, ``jag`` turns at each step."""
    bend = rng.normal(0, turn)
    angle = (
        rng.uniform(0, 2 * np.pi) + np.cumsum(np.full(n, bend) + rng.normal(0, turn * 0.3, n)) + rng.normal(0, jag, n)
    )
    points = np.vstack([np.zeros(2), np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1) * (length / n), 0)])
    centred: np.ndarray = points - points[n // 2] + start
    return centred


def _blob(scene: Scene, rng: np.random.Generator, radius: tuple[float, float], wobble: float) -> tuple[np.ndarray, ...]:
    """An irregular patch: (distance inside in pixels, radius 0 at the centre to 1 at the edge, dx, dy), each (H, W)."""
    cx, cy = scene.place(rng)
    x, y = scene.grid()
    dx, dy = x - cx, y - cy
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.6)
    a = (dx * np.cos(angle) + dy * np.sin(angle)) / np.sqrt(stretch)
    b = (dy * np.cos(angle) - dx * np.sin(angle)) * np.sqrt(stretch)
    theta = np.arctan2(b, a)
    edge = np.float32(rng.uniform(*radius) * scene.unit) * np.ones_like(theta)
    for k in (2, 3, 5, 7):
        edge = edge * (1 + wobble / np.sqrt(k) * rng.normal() * np.cos(k * theta + rng.uniform(0, 6.28)))
    r = np.hypot(a, b)
    return edge - r, r / np.maximum(edge, 1), dx, dy


def _soft(d: np.ndarray, width: float = 1.0) -> np.ndarray:
    return np.clip(d / width + 0.5, 0, 1)


def _groove(
    scene: Scene, rng: np.random.Generator, d: np.ndarray, width: np.ndarray, *, dark: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A line of one end of the tones with an edge of the other on one side: the look of something cut in."""
    core = _soft(width - np.abs(d))
    lip = _soft(width * 0.9 - np.abs(d - 1.9 * width)) * 0.75
    rgb = mix(mix(scene.rgb, scene.tone(rng, dark=not dark), lip), scene.tone(rng, dark=dark), core)
    return rgb, np.maximum(core, lip) * scene.region


def scratch(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One or two slightly bent strokes."""
    s = scene.unit
    path = _path(rng, np.array(scene.place(rng)), rng.uniform(34, 62) * s, 8, 0.06)
    d, along = _line(scene, path)
    if rng.random() < 0.5:  # a second stroke beside the first
        d = np.where(np.abs(d) < np.abs(d - 6 * s), d, d - 6 * s)
    width = rng.uniform(1.1, 1.7) * s * np.clip(np.minimum(along, 1 - along) * 8 + 0.25, 0, 1)
    return _groove(scene, rng, d, width, dark=rng.random() < 0.35)


def crack(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A jagged line with branches."""
    s = scene.unit
    path = _path(rng, np.array(scene.place(rng)), rng.uniform(40, 70) * s, 9, 0.05, 0.55)
    d, along = _line(scene, path)
    for _ in range(int(rng.integers(1, 4))):
        twig = _path(rng, np.zeros(2), rng.uniform(14, 26) * s, 4, 0.05, 0.5)
        twig_d, _ = _line(scene, twig - twig[0] + path[rng.integers(2, 8)])
        d = np.where(np.abs(twig_d) + 0.4 * s < np.abs(d), np.sign(twig_d) * (np.abs(twig_d) + 0.4 * s), d)
    width = rng.uniform(1.2, 1.9) * s * (0.55 + 0.45 * np.sin(np.pi * along))
    return _groove(scene, rng, d, width, dark=True)


def hole(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A dark pit with a lit rim."""
    d, _, dx, dy = _blob(scene, rng, (6, 11), 0.1)
    s, angle = scene.unit, rng.uniform(0, 2 * np.pi)
    slope = (dx * np.cos(angle) + dy * np.sin(angle)) / (9 * s)
    inside = scene.tone(rng, dark=True) * (0.7 + 0.3 * np.clip(slope, -1, 1))[..., None]
    rim = _soft(1.3 * s - np.abs(d + 1.2 * s)) * np.clip(0.5 + slope, 0, 1) * 0.8
    rgb = mix(mix(scene.rgb, scene.tone(rng, dark=False), rim), inside, _soft(d, 1.5 * s))
    return rgb, np.maximum(_soft(d, 1.5 * s), rim) * scene.region


def stain(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A blotch through which the surface shows, darker at its rim."""
    d, _, _, _ = _blob(scene, rng, (10, 17), 0.28)
    s = scene.unit
    tint = scene.rgb[scene.region].mean(0) * rng.uniform(0.35, 0.6) + rng.uniform(-0.04, 0.04, 3)
    if rng.random() < 0.3:
        tint = 1 - 0.55 * (1 - scene.rgb[scene.region].mean(0))
    strength = _soft(d, 2.5 * s) * (rng.uniform(0.55, 0.75) + 0.22 * _soft(2.5 * s - np.abs(d - 2 * s), 2 * s))
    return mix(scene.rgb, tint.astype(np.float32), strength), _soft(d, 2.5 * s) * scene.region


def _relief(scene: Scene, r: np.ndarray, dx: np.ndarray, dy: np.ndarray, pull: float) -> np.ndarray:
    """The picture (H, W, 3) seen through a bump (pull > 0 magnifies) with radius coordinate r."""
    n = r.shape[0]
    amount = pull * np.clip(1 - r, 0, 1)
    x, y = scene.grid()
    ix = np.clip(np.round(x - dx * amount), 0, n - 1).astype(int)
    iy = np.clip(np.round(y - dy * amount), 0, n - 1).astype(int)
    seen: np.ndarray = scene.rgb[iy, ix]
    return seen


def dent(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A hollow: shaded, and what it holds looks shrunk."""
    d, r, dx, dy = _blob(scene, rng, (11, 17), 0.1)
    angle, s = rng.uniform(0, 2 * np.pi), scene.unit
    slope = (dx * np.cos(angle) + dy * np.sin(angle)) / (13 * s) * np.clip(1.15 - r, 0, 1) * 2.6
    light = np.clip(1 + rng.uniform(0.75, 1.0) * slope, 0.25, 2.0)
    rgb = _relief(scene, r, dx, dy, -0.5) * light[..., None]
    inside = _soft(d, 2 * s)
    return mix(scene.rgb, np.clip(rgb, 0.02, 1), inside), inside * scene.region


def color(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A patch of another hue with the same pattern."""
    d, _, _, _ = _blob(scene, rng, (9, 15), 0.2)
    turned = (
        scene.rgb[..., rng.permutation(3)] if rng.random() < 0.3 else np.roll(scene.rgb, int(rng.integers(1, 3)), -1)
    )
    tint = rng.uniform(0, 1, 3)
    tint = (tint - luminance(tint.astype(np.float32))) * rng.uniform(0.25, 0.45)
    rgb = np.clip(0.75 * turned + 0.25 * luminance(scene.rgb)[..., None] + tint, 0.02, 0.98).astype(np.float32)
    inside = _soft(d, 2 * scene.unit)
    return mix(scene.rgb, rgb, inside), inside * scene.region


def contamination(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A cluster of loose crumbs."""
    cx, cy = scene.place(rng)
    x, y = scene.grid()
    s = scene.unit
    spread = rng.uniform(6, 11) * s
    rgb, support = scene.rgb, np.zeros(x.shape, np.float32)
    hue = rng.uniform(-0.12, 0.12, 3).astype(np.float32)
    for _ in range(int(rng.integers(7, 15))):
        px, py = rng.normal((cx, cy), spread)
        angle, radius = rng.uniform(0, np.pi), rng.uniform(1.4, 3.2) * s
        a = (x - px) * np.cos(angle) + (y - py) * np.sin(angle)
        b = (y - py) * np.cos(angle) - (x - px) * np.sin(angle)
        grain = _soft(radius - np.maximum(np.abs(a) * 0.75, np.abs(b)))
        shade = _soft(radius - np.maximum(np.abs(a - s) * 0.75, np.abs(b - s))) * 0.5
        colour = np.clip(scene.tone(rng, dark=rng.random() < 0.5) + hue, 0.02, 0.98)
        rgb = mix(mix(rgb, rgb * 0.5, shade), colour, grain)
        support = np.maximum(support, np.maximum(grain, shade))
    return rgb, support * scene.region


def missing(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A piece is gone: what lies behind an object shows, a texture shows bare ground with a shaded edge."""
    s = scene.unit
    if scene.background is not None:
        x, y = scene.grid()
        near = np.pad(scene.region, 2)  # a bite must start on the outline, so that it changes the shape
        eroded = near[:-4, 2:-2] & near[4:, 2:-2] & near[2:-2, :-4] & near[2:-2, 4:]
        spots = np.flatnonzero(scene.region & ~eroded)
        cy, cx = divmod(int(spots[rng.integers(len(spots))]), x.shape[1])
        theta = np.arctan2(y - cy, x - cx)
        edge = rng.uniform(9, 15) * s * (1 + 0.12 * np.cos(3 * theta + rng.uniform(0, 6)) + 0.08 * np.cos(7 * theta))
        gone = _soft(edge - np.hypot(x - cx, y - cy))
        return mix(scene.rgb, scene.background, gone), gone
    d, _, dx, dy = _blob(scene, rng, (10, 16), 0.16)
    ground = scene.rgb.reshape(-1, 3).mean(0) * rng.uniform(0.75, 1.1)
    grain = 1 + 0.08 * sample("fine", dx / 48, dy / 48, rng)
    angle = rng.uniform(0, 2 * np.pi)
    side = (dx * np.cos(angle) + dy * np.sin(angle)) / (12 * s)
    edge = 1 + np.clip(side, -1, 1) * np.exp(-np.maximum(d, 0) / (2 * s)) * 0.55
    return mix(scene.rgb, ground * (grain * edge)[..., None], _soft(d)), _soft(d) * scene.region


def thread(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A long, smoothly bent, twisted fibre; may lie across an object's outline."""
    s = scene.unit
    path = _path(rng, np.array(scene.place(rng)), rng.uniform(60, 100) * s, 18, 0.16)
    d, along = _line(scene, path)
    width = rng.uniform(1.2, 1.8) * s
    twist = 0.85 + 0.25 * np.sin(along * rng.uniform(60, 110))
    hue = rng.uniform(-0.1, 0.1, 3).astype(np.float32)
    colour = np.clip(scene.tone(rng, dark=rng.random() < 0.4) + hue, 0.05, 0.95) * twist[..., None]
    core, shade = _soft(width - np.abs(d)), _soft(width - np.abs(d - 1.6 * width)) * 0.45
    return mix(scene.rgb * (1 - shade[..., None]), colour, core), np.maximum(core, shade)


def bubble(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A lens with a bright and a dark rim and a highlight."""
    d, r, dx, dy = _blob(scene, rng, (7, 12), 0.03)
    s, angle = scene.unit, rng.uniform(0, 2 * np.pi)
    slope = (dx * np.cos(angle) + dy * np.sin(angle)) / (10 * s)
    rgb = _relief(scene, r, dx, dy, 0.5) * np.clip(1.05 + 0.55 * slope, 0.4, 1.8)[..., None]
    rim = _soft(1.2 * s - np.abs(d - s))
    rgb = mix(rgb, scene.tone(rng, dark=True) * 0.8, rim * np.clip(0.4 - slope, 0, 1))
    rgb = mix(rgb, scene.tone(rng, dark=False), rim * np.clip(0.4 + slope, 0, 1))
    spot = np.hypot(dx - 4.5 * s * np.cos(angle), dy - 4.5 * s * np.sin(angle))
    rgb = mix(rgb, np.full(3, 0.95, np.float32), _soft(1.8 * s - spot, 1.5 * s))
    inside = _soft(d)
    return mix(scene.rgb, np.clip(rgb, 0.02, 1), inside), inside * scene.region


DEFECTS: dict[str, Defect] = {
    d.__name__: d for d in (scratch, crack, hole, stain, dent, color, contamination, missing, thread, bubble)
}
