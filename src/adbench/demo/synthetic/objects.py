"""Objects: functions (frame, palette, rng) -> (alpha (H, W) in [0, 1], colours (H, W, 3)), before light and camera.

Shapes are distances in the frame's units, positive inside; every object fits the square [-0.9, 0.9].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .frame import Frame, Palette, mix, step
from .noise import sample

Part = tuple[np.ndarray, np.ndarray]
Object = Callable[[Frame, Palette, np.random.Generator], Part]


def _box(f: Frame, half_u: float, half_v: float, corner: float = 0.08, at: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Distance inside a rounded rectangle."""
    qu = np.abs(f.u - at[0]) - (half_u - corner)
    qv = np.abs(f.v - at[1]) - (half_v - corner)
    return corner - np.hypot(np.maximum(qu, 0), np.maximum(qv, 0)) - np.minimum(np.maximum(qu, qv), 0)


def _polar(f: Frame, at: tuple[float, float] = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
    return np.hypot(f.u - at[0], f.v - at[1]), np.arctan2(f.v - at[1], f.u - at[0])


def _body(f: Frame, p: Palette, rng: np.random.Generator, d: np.ndarray, rim: float = 0.12) -> np.ndarray:
    """The base colour with a grain and a rim that darkens towards the edge."""
    rgb = mix(p.base, p.third, 0.18 + 0.3 * sample("cloud", f.u, f.v, rng) + 0.12 * sample("fine", f.u, f.v, rng))
    return rgb * (0.62 + 0.38 * np.clip(d / rim, 0, 1))[..., None]


def capsule(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """Two halves with a highlight."""
    d = _box(f, 0.85, 0.36, 0.359)
    rgb = mix(_body(f, p, rng, d, 0.2), p.second * 0.95, step(f.u - rng.uniform(-0.1, 0.1), f.px))
    shine = np.exp(-(((f.v + 0.14) / 0.06) ** 2)) * (np.abs(f.u) < 0.6)
    return step(d, f.px), rgb + 0.25 * shine[..., None]


def washer(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A flat ring."""
    r, angle = _polar(f)
    d = np.minimum(0.82 - r, r - rng.uniform(0.28, 0.42))
    rgb = _body(f, p, rng, d, 0.1) * (1 + 0.22 * np.cos(2 * angle))[..., None]
    return step(d, f.px), mix(rgb, p.second, 0.5 * step(0.03 - np.abs(r - 0.62), f.px))


def bottlecap(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A crimped disc with an emblem."""
    r, angle = _polar(f)
    d = 0.8 + 0.04 * np.cos(21 * angle) - r
    rgb = _body(f, p, rng, d) * (1 + 0.25 * np.cos(21 * angle) * (r > 0.62))[..., None]
    rgb = mix(rgb, p.second, step(0.45 - r, f.px) * step(np.cos(5 * angle) * 0.1 + 0.1, f.px))
    return step(d, f.px), mix(rgb, p.second, 0.7 * step(0.03 - np.abs(r - 0.58), f.px))


def screw(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A threaded shaft with a head."""
    pitch = rng.uniform(7, 10)
    tooth = 0.05 * np.sin(2 * np.pi * (f.u * pitch + 0.3 * f.v))
    shaft = np.minimum(0.22 + tooth - np.abs(f.v) - np.clip(f.u - 0.55, 0, 1) * 0.7, np.minimum(f.u + 0.5, 0.88 - f.u))
    head = _box(f, 0.2, 0.48, 0.12, (-0.65, 0))
    d = np.maximum(shaft, head)
    rgb = _body(f, p, rng, d, 0.18)
    rgb = mix(rgb, p.second, np.clip(tooth * 9, 0, 1) * (head < 0) * 0.8)
    return step(d, f.px), rgb


def acorn(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A nut in a checked cup."""
    nut_d = 0.62 - np.hypot(f.u * 0.78, f.v) - 0.12 * np.clip(f.u, 0, 1) ** 2
    cap_d = np.minimum(0.66 - np.hypot(f.u * 0.8, f.v * 0.95), -0.2 - f.u)
    d = np.maximum(nut_d, cap_d)
    weave = np.sin(f.u * 26 + f.v * 18) * np.sin(f.u * 26 - f.v * 18)
    rgb = mix(_body(f, p, rng, d, 0.25), p.second * 0.8, 0.25 * step(np.sin(f.v * 30), 1.0))
    return step(d, f.px), mix(rgb, mix(p.second, p.base * 0.6, step(weave, 0.6)), step(cap_d, f.px))


def tablet(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A disc with a score line."""
    r, _ = _polar(f)
    d = rng.uniform(0.68, 0.82) - r
    rgb = _body(f, p, rng, d, 0.16)
    groove = step(0.035 - np.abs(f.v), f.px) * (d > 0.1)
    rgb = mix(rgb, p.second * 0.8, 0.8 * groove)
    return step(d, f.px), rgb + 0.1 * (step(0.03 - np.abs(f.v - 0.06), f.px) * (d > 0.1))[..., None]


def gear(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A toothed wheel with a bore and round openings."""
    r, angle = _polar(f)
    n = int(rng.integers(9, 15))
    d = 0.72 + 0.1 * np.clip(np.cos(n * angle) * 2.5, -1, 1) - r
    d = np.minimum(d, r - 0.16)
    spokes = int(rng.integers(3, 6))
    sector = (angle % (2 * np.pi / spokes)) - np.pi / spokes
    d = np.minimum(d, np.hypot(r * np.cos(sector) - 0.4, r * np.sin(sector)) - 0.12)
    return step(d, f.px), mix(_body(f, p, rng, d, 0.07), p.second, 0.6 * step(0.03 - np.abs(r - 0.58), f.px))


def chip(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A package with pins, print and a dot for pin one."""
    body = _box(f, 0.5, 0.72, 0.05)
    n = rng.uniform(4.5, 6.5)
    pin_row = np.minimum(0.85 - np.abs(f.u), 0.66 - np.abs(f.v))
    pins = np.minimum(pin_row, (0.25 - np.abs((f.v * n) % 1 - 0.5)) / n)
    d = np.maximum(body, pins)
    rgb = mix(np.broadcast_to(p.second, (*d.shape, 3)), _body(f, p, rng, body, 0.08), step(body, f.px))
    text = (
        step(np.sin(f.v * 24), 0.5)
        * (np.abs(f.u) < 0.28)
        * (np.abs(f.v) < 0.3)
        * (sample("fine", f.u, f.v * 0.1, rng) > 0)
    )
    rgb = mix(rgb, p.third, 0.8 * text + step(0.08 - _polar(f, (-0.33, -0.56))[0], f.px))
    return step(d, f.px), rgb


def button(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A disc with two or four benign holes."""
    r, _ = _polar(f)
    holes = [(0.2, 0.2), (-0.2, 0.2), (0.2, -0.2), (-0.2, -0.2)] if rng.random() < 0.6 else [(0.2, 0.0), (-0.2, 0.0)]
    d = 0.8 - r
    for at in holes:
        d = np.minimum(d, _polar(f, at)[0] - 0.1)
    return step(d, f.px), mix(_body(f, p, rng, d, 0.1), p.second, 0.65 * step(0.05 - np.abs(r - 0.6), f.px))


def coin(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A disc with relief and a beaded rim."""
    r, angle = _polar(f)
    d = 0.82 - r
    relief = sample("patch", f.u, f.v, rng, 1.1) * (r < 0.55)
    rgb = mix(_body(f, p, rng, d, 0.06), p.second, 1.1 * np.clip(relief, 0, 1))
    beads = step(np.cos(36 * angle), 0.8) * step(0.035 - np.abs(r - 0.7), f.px)
    return step(d, f.px), mix(rgb, p.second, 0.8 * beads + 0.6 * step(0.02 - np.abs(r - 0.6), f.px))


def nut(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A hexagon with a bore."""
    r, angle = _polar(f)
    sector = (angle % (np.pi / 3)) - np.pi / 6
    d = np.minimum(0.74 - r * np.cos(sector), r - rng.uniform(0.32, 0.42))
    rgb = _body(f, p, rng, d, 0.08) * (1 + 0.12 * np.cos(3 * angle))[..., None]
    return step(d, f.px), mix(rgb, p.second, 0.6 * step(0.04 - np.abs(r - 0.66), f.px))


def cable(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A cross-section with three stranded cores."""
    r, _ = _polar(f)
    d = 0.82 - r
    rgb = _body(f, p, rng, d, 0.1)
    for k, colour in enumerate((p.second, p.third, (p.second + p.third) / 2)):
        at = (0.36 * np.cos(2.0944 * k), 0.36 * np.sin(2.0944 * k))
        core = 0.3 - _polar(f, at)[0]
        strand = 0.75 + 0.4 * np.cos(f.u * 34) * np.cos(f.v * 34) * (core > 0.1)
        rgb = mix(rgb, colour * strand[..., None], step(core, f.px))
    return step(d, f.px), rgb


def crayon(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A stick with a tapered end and a label."""
    half = 0.2 - 0.28 * np.clip(f.u - 0.5, 0, 1) / 0.4 * 0.6
    d = np.minimum(half - np.abs(f.v), 0.88 - np.abs(f.u))
    rgb = _body(f, p, rng, d, 0.12)
    rgb = mix(rgb, p.second, step(f.u - 0.5, f.px) + step(0.05 - np.abs(f.u + 0.3), f.px))
    ring = np.sin(f.u * 40) * ((f.u > 0.15) & (f.u < 0.45))
    return step(d, f.px), mix(rgb, p.third, step(ring - 0.2, 0.5) + step(_box(f, 0.25, 0.05, 0.04, (-0.6, 0)), f.px))


def leaf(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A pointed blade with ribs."""
    d = 0.5 * (1 - (f.u / 0.88) ** 2) - np.abs(f.v) + 0.015 * np.sin(f.u * 40)
    rib = np.maximum(step(0.03 - np.abs(f.v), f.px), step(np.cos((f.u - np.abs(f.v)) * 22) - 0.75, 0.4) * 0.8)
    return step(d, f.px), mix(_body(f, p, rng, d, 0.1), p.second, rib * 0.9)


def cookie(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A wobbly disc with benign dark chips."""
    r, angle = _polar(f)
    d = 0.76 + 0.03 * np.cos(7 * angle + rng.uniform(0, 6)) - r
    rgb = mix(_body(f, p, rng, d, 0.14), p.third, 0.5 * sample("grain", f.u, f.v, rng))
    return step(d, f.px), mix(rgb, p.second * 0.7, step(sample("patch", f.u, f.v, rng, 1.6) - 0.42, 0.12) * (d > 0.06))


def plate(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A disc with a patterned band."""
    r, angle = _polar(f)
    d = 0.84 - r
    n = int(rng.integers(10, 20))
    band = step(0.09 - np.abs(r - 0.68), f.px) * step(np.cos(n * angle), 0.6)
    rgb = mix(_body(f, p, rng, d, 0.05), p.second, 0.85 * band)
    return step(d, f.px), mix(rgb, p.third * 0.8, 0.7 * step(0.025 - np.abs(r - 0.5), f.px))


def domino(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A rounded block with pips."""
    d = _box(f, 0.82, 0.42, 0.1)
    rgb = _body(f, p, rng, d, 0.08)
    pips = rng.random((2, 3)) < 0.7
    for i, u in enumerate((-0.6, -0.4, -0.2, 0.2, 0.4, 0.6)):
        for v in (-0.22, 0.0, 0.22):
            if pips[i // 3, round(v / 0.22) + 1]:
                rgb = mix(rgb, p.second, step(0.075 - _polar(f, (u, v))[0], f.px))
    return step(d, f.px), mix(rgb, p.second, step(0.02 - np.abs(f.u), f.px) * (np.abs(f.v) < 0.34))


def comb(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A spine with teeth."""
    n = rng.uniform(4, 6.5)
    spine = _box(f, 0.85, 0.2, 0.06, (0, -0.4))
    teeth = np.minimum(np.minimum(0.6 - f.v, f.v + 0.4), (0.28 - np.abs((f.u * n) % 1 - 0.5)) / n)
    d = np.maximum(spine, np.minimum(teeth, 0.8 - np.abs(f.u)))
    return step(d, f.px), mix(_body(f, p, rng, d, 0.06), p.second, 0.7 * step(0.04 - np.abs(f.v + 0.4), f.px))


def flower(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """Shaded petals around a centre."""
    r, angle = _polar(f)
    n = int(rng.integers(5, 9))
    d = 0.62 + 0.2 * np.cos(n * angle) - r
    rgb = _body(f, p, rng, d, 0.16) * (1 - 0.2 * np.cos(3 * n * angle) * (r > 0.3))[..., None]
    return step(d, f.px), mix(rgb, p.second, step(0.24 - r, f.px))


def battery(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A rounded body with a terminal and signs."""
    d = np.maximum(_box(f, 0.75, 0.36, 0.05), _box(f, 0.1, 0.14, 0.03, (0.8, 0)))
    rgb = mix(_body(f, p, rng, d, 0.2), p.second, step(f.u - rng.uniform(0.1, 0.4), f.px) * 0.9)
    stripe = step(0.05 - np.abs(f.v), f.px) * step(0.18 - np.abs(f.u + 0.4), f.px)
    return step(d, f.px), mix(
        rgb, p.third, stripe + step(0.05 - np.abs(f.u + 0.4), f.px) * step(0.18 - np.abs(f.v), f.px)
    )


def badge(f: Frame, p: Palette, rng: np.random.Generator) -> Part:
    """A star with an emblem."""
    r, angle = _polar(f)
    n = int(rng.integers(5, 9))
    sector = np.abs((angle % (2 * np.pi / n)) - np.pi / n)
    d = 0.84 - r * (0.8 + 0.55 * sector)
    rgb = mix(_body(f, p, rng, d, 0.08), p.second, 0.8 * step(0.42 - r, f.px))
    return step(d, f.px), mix(rgb, p.third, step(0.2 - r * (0.6 + 1.2 * sector), f.px))


OBJECTS: dict[str, Object] = {
    o.__name__: o
    for o in (
        *(capsule, washer, bottlecap, screw, acorn, tablet, gear, chip, button, coin, nut, cable, crayon, leaf, cookie),
        *(plate, domino, comb, flower, battery, badge),
    )
}
