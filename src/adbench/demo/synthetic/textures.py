"""Textures: functions (frame, palette, rng) -> colours (H, W, 3) in about [0, 1], before light and camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .frame import Frame, Palette, mix, step
from .noise import cells, sample

Texture = Callable[[Frame, Palette, np.random.Generator], np.ndarray]
TAU = 2 * np.pi


def _tones(rng: np.random.Generator, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """A random tone in [0, 1] per integer cell (i, j)."""
    table = rng.uniform(0, 1, 256).astype(np.float32)
    tones: np.ndarray = table[(i * 37 + j * 101) & 255]
    return tones


def _fold(x: np.ndarray) -> np.ndarray:
    """Distance to the nearest integer, in [0, 0.5]."""
    distance: np.ndarray = np.abs(x - np.round(x))
    return distance


def fabric(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Plain weave of two yarns."""
    k = rng.uniform(5, 8)
    u, v = f.u * k, f.v * k
    over = (np.floor(u) + np.floor(v)) % 2 == 0
    t = np.where(over, np.cos((u % 1 - 0.5) * np.pi), 1 - 0.9 * np.cos((v % 1 - 0.5) * np.pi))
    return mix(p.base, p.second, t * 0.9 + 0.12 * sample("fine", f.u, f.v, rng))


def wood(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Bent rings with a fine grain."""
    bend = sample("cloud", f.u * 0.35, f.v, rng, 0.6)
    rings = 0.5 + 0.5 * np.sin(TAU * (f.v * rng.uniform(2, 4) + 1.1 * bend))
    return mix(p.base, p.second, 0.75 * rings + 0.3 * sample("fine", f.u * 0.15, f.v, rng))


def tile(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Square tiles with joints; each has a tone."""
    k = rng.uniform(1.8, 3.2)
    u, v = f.u * k, f.v * k
    gap = 0.5 - np.maximum(np.abs(u % 1 - 0.5), np.abs(v % 1 - 0.5))
    tone = _tones(rng, np.floor(u).astype(int), np.floor(v).astype(int))
    face = mix(p.base, p.third, tone * 0.4 + 0.15 * sample("cloud", f.u, f.v, rng))
    return mix(np.broadcast_to(p.second, face.shape), face, step(gap - 0.06, f.px * k))


def brick(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Running bond with mortar."""
    k = rng.uniform(2.6, 4.2)
    v = f.v * k
    row = np.floor(v)
    u = f.u * k * 0.5 + 0.5 * (row % 2)
    gap = np.minimum((0.5 - np.abs(u % 1 - 0.5)) * 2, 0.5 - np.abs(v % 1 - 0.5))
    tone = _tones(rng, np.floor(u).astype(int), row.astype(int))
    face = mix(p.base, p.third, tone * 0.5 + 0.2 * sample("grain", f.u, f.v, rng))
    return mix(np.broadcast_to(p.second, face.shape), face, step(gap - 0.09, f.px * k))


def checkerboard(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Squares of two colours."""
    k = rng.uniform(1.3, 2.6)
    wave = np.sin(np.pi * f.u * k * 2) * np.sin(np.pi * f.v * k * 2)
    return mix(p.base, p.second, step(wave, f.px * k * 5) + 0.1 * sample("cloud", f.u, f.v, rng))


def grid(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """A wire mesh in front of a ground."""
    k, width = rng.uniform(3, 5), rng.uniform(0.13, 0.2)
    line = np.maximum(step(width - _fold(f.u * k), f.px * k), step(width - _fold(f.v * k), f.px * k))
    return mix(mix(p.second, p.third, 0.3 + 0.3 * sample("smooth", f.u, f.v, rng)), p.base, line)


def hexagon(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Honeycomb tiles with joints."""
    k = rng.uniform(2.4, 3.8)
    u, v, r = f.u * k, f.v * k, 1.7320508
    a = np.stack([u % 1 - 0.5, v % r - r / 2])  # the two interleaved lattices of a honeycomb
    b = np.stack([(u - 0.5) % 1 - 0.5, (v - r / 2) % r - r / 2])
    near = (a**2).sum(0) < (b**2).sum(0)
    q = np.where(near, a, b)
    gap = 0.5 - np.maximum(np.abs(q[0]), np.abs(q[0]) * 0.5 + np.abs(q[1]) * r / 2)
    tone = _tones(rng, np.round((u - q[0]) * 2).astype(int), np.round((v - q[1]) * 2 / r).astype(int))
    face = mix(p.base, p.third, tone * 0.4)
    return mix(np.broadcast_to(p.second, face.shape), face, step(gap - 0.06, f.px * k))


def granite(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Grains of two tones with benign dark specks."""
    body = mix(p.base, p.third, 0.4 + 0.9 * sample("grain", f.u, f.v, rng))
    return mix(body, p.second, step(sample("grain", f.u, f.v, rng, 1.2) - 0.42, 0.15))


def leather(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Small cells parted by creases."""
    k = rng.uniform(5, 8)
    warp = 0.25 * sample("patch", f.u, f.v, rng)
    _, margin, tone = cells(f.u * k + warp, f.v * k + warp, rng)
    return mix(p.second, p.base, np.clip(margin * 3, 0, 1) * 0.85 + 0.15 * tone)


def metal(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Brushed along one direction."""
    brushed = sample("fine", f.u * 0.06, f.v, rng) + 0.8 * sample("grain", f.u * 0.08, f.v, rng)
    return mix(p.base, p.second, 0.45 + 0.75 * brushed)


def carpet(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Rows of uneven tufts."""
    k = rng.uniform(6, 9)
    warp = 0.35 * sample("grain", f.u, f.v, rng)
    tuft = np.cos(TAU * (f.u * k + warp)) * 0.5 + np.cos(TAU * (f.v * k * 0.6 + 0.5 * np.floor(f.u * k) - warp)) * 0.5
    return mix(p.base, p.second, 0.5 + 0.4 * tuft + 0.35 * sample("fine", f.u, f.v, rng))


def stripes(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Broad stripes with a thin line between them."""
    k = rng.uniform(2, 4.5)
    body = mix(p.base, p.second, step(0.5 * np.sin(TAU * f.u * k), f.px * k * 2))
    return mix(body, p.third, step(0.06 - _fold(f.u * k + 0.25), f.px * k) * 0.6)


def dots(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Round dots in shifted rows."""
    k, r = rng.uniform(2.4, 4), rng.uniform(0.24, 0.36)
    u = f.u * k + 0.5 * (np.floor(f.v * k) % 2)
    d = r - np.hypot(u % 1 - 0.5, (f.v * k) % 1 - 0.5)
    return mix(p.base, p.second, step(d, f.px * k) + 0.1 * sample("cloud", f.u, f.v, rng))


def paper(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Crumpled, hence with folds in shade."""
    crumple = np.abs(sample("patch", f.u, f.v, rng, 0.6)) + 0.6 * sample("cloud", f.u, f.v, rng)
    return mix(p.base, p.second, 0.15 + 1.1 * crumple + 0.12 * sample("fine", f.u, f.v, rng))


def concrete(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Clouds, grit and benign pores."""
    body = mix(p.base, p.third, 0.4 + 0.7 * sample("cloud", f.u, f.v, rng) + 0.4 * sample("fine", f.u, f.v, rng))
    return mix(body, p.second, step(sample("grain", f.u, f.v, rng, 0.8) - 0.62, 0.1))


def marble(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Bent veins on a cloudy ground."""
    warp = 0.5 * sample("cloud", f.u, f.v, rng, 0.7)
    vein = 1 - np.abs(np.sin(np.pi * (f.u * rng.uniform(0.8, 1.6) + f.v * 0.7 + 1.6 * warp)))
    body = mix(p.base, p.third, 0.3 + 0.4 * sample("cloud", f.u, f.v, rng))
    return mix(body, p.second, np.clip(vein, 0, 1) ** 3 * 0.95)


def cork(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Irregular lumps, some of them dark."""
    k = rng.uniform(4, 7)
    _, margin, tone = cells(f.u * k, f.v * k, rng, 0.95)
    body = mix(p.base, p.third, tone)
    return mix(body, p.second, (tone > 0.82) * 0.9 + 0.6 * (margin < 0.08) + 0.2 * sample("fine", f.u, f.v, rng))


def knit(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Slanted stitches in columns."""
    k = rng.uniform(2.5, 4.5)
    u = f.u * k
    slant = np.abs(u % 1 - 0.5) * 1.4
    t = 0.5 + 0.5 * np.cos(TAU * (f.v * k * 1.2 - slant))
    return mix(p.base, p.second, t * 0.85 + 0.25 * (_fold(u) < 0.08))


def plastic(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Moulded round bumps."""
    k = rng.uniform(2.5, 5)
    bump = np.sin(TAU * f.u * k) * np.cos(TAU * f.v * k)
    return mix(p.base, p.second, 0.5 + 0.55 * bump + 0.1 * sample("smooth", f.u, f.v, rng))


def mosaic(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Irregular pieces with joints."""
    k = rng.uniform(2.2, 4)
    _, margin, tone = cells(f.u * k, f.v * k, rng, 0.7)
    return mix(np.broadcast_to(p.second, (*tone.shape, 3)), mix(p.base, p.third, tone), step(margin - 0.1, f.px * k))


def terrazzo(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Scattered shards in a ground."""
    k = rng.uniform(3, 5)
    distance, margin, tone = cells(f.u * k, f.v * k, rng, 0.95)
    shard = step(margin - 0.2, f.px * k) * (tone > 0.35) * step(0.5 - distance, f.px * k)
    return mix(mix(p.base, p.third, 0.2 * sample("fine", f.u, f.v, rng)), mix(p.second, p.third, tone), shard)


def chevron(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Zigzag bands."""
    k = rng.uniform(1.5, 3)
    zigzag = np.sin(TAU * (f.v * k + 0.9 * _fold(f.u * k)))
    return mix(p.base, p.second, step(zigzag, f.px * k * 5) + 0.08 * sample("cloud", f.u, f.v, rng))


def camouflage(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Patches of three tones."""
    body = mix(p.base, p.second, step(sample("patch", f.u, f.v, rng, 0.7), 0.12))
    return mix(body, p.third, step(sample("patch", f.u, f.v, rng, 0.6) - 0.35, 0.12))


def scales(f: Frame, p: Palette, rng: np.random.Generator) -> np.ndarray:
    """Overlapping fish scales."""
    k = rng.uniform(2.4, 4)
    row = np.floor(f.v * k)
    u, v = f.u * k * 0.8 + 0.5 * (row % 2), f.v * k - row
    d = np.hypot(u % 1 - 0.5, v)
    return mix(p.base, p.second, np.clip(d * 1.3, 0, 1) ** 2 + step(d - 0.62, f.px * k) * 0.3)


TEXTURES: dict[str, Texture] = {
    t.__name__: t
    for t in (
        *(
            fabric,
            wood,
            tile,
            brick,
            checkerboard,
            grid,
            hexagon,
            granite,
            leather,
            metal,
            carpet,
            stripes,
            dots,
            paper,
        ),
        *(concrete, marble, cork, knit, plastic, mosaic, terrazzo, chevron, camouflage, scales),
    )
}
