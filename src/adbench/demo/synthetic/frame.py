"""Where a pixel lies and what colours a thing has: the two inputs every material and object is a function of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.72, 0.18, 0.16),
    "orange": (0.85, 0.48, 0.16),
    "yellow": (0.84, 0.74, 0.25),
    "green": (0.26, 0.55, 0.28),
    "blue": (0.22, 0.38, 0.70),
    "purple": (0.48, 0.28, 0.60),
    "pink": (0.85, 0.52, 0.60),
    "brown": (0.48, 0.32, 0.20),
    "beige": (0.78, 0.70, 0.56),
    "white": (0.88, 0.88, 0.86),
    "gray": (0.52, 0.53, 0.54),
    "black": (0.17, 0.17, 0.19),
}


@dataclass(frozen=True)
class Frame:
    """Pixel centres (u, v), turned, scaled and shifted, each (H, W) float32; ``px`` is one pixel in their units."""

    u: np.ndarray
    v: np.ndarray
    px: float


@dataclass(frozen=True)
class Palette:
    """Named main colour and two companions of clearly other tones, each (3,) float32 in [0, 1]."""

    name: str
    base: np.ndarray
    second: np.ndarray
    third: np.ndarray


def pixel_grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres (x, y), each (size, size) float32 in (-1, 1)."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    return np.broadcast_to(axis[None, :], (size, size)), np.broadcast_to(axis[:, None], (size, size))


def make_frame(size: int, rng: np.random.Generator, *, is_object: bool) -> Frame:
    """Random view: objects keep wholly inside the picture, textures may be shifted by any amount."""
    x, y = pixel_grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    zoom = rng.uniform(1.0, 1.25) if is_object else rng.uniform(0.8, 1.25)
    shift = rng.uniform(-0.1, 0.1, 2) if is_object else rng.uniform(-4, 4, 2)
    cos, sin = np.float32(np.cos(angle) * zoom), np.float32(np.sin(angle) * zoom)
    u = (x * cos - y * sin + np.float32(shift[0])).astype(np.float32)
    v = (x * sin + y * cos + np.float32(shift[1])).astype(np.float32)
    return Frame(u, v, 2 * zoom / size)


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Brightness (...,) of colours (..., 3)."""
    return rgb @ np.array([0.3, 0.55, 0.15], np.float32)


def make_palette(rng: np.random.Generator, contrast: tuple[float, float] = (0.28, 0.5)) -> Palette:
    """A random named colour and companions whose tones lie ``contrast`` away, so that no surface is flat."""
    names = list(COLOURS)
    name = names[rng.integers(len(names))]
    base = np.clip(np.array(COLOURS[name]) + rng.uniform(-0.06, 0.06, 3), 0.04, 0.96)
    other = np.array(COLOURS[names[rng.integers(len(names))]])

    def companion(strange: float) -> np.ndarray:
        hue = base * (1 - strange) + other * strange
        step = rng.uniform(*contrast)
        dark = luminance(base) > 0.5 if rng.random() < 0.7 else rng.random() < 0.5
        target = luminance(base) - step if dark else luminance(base) + step
        if not 0.05 < target < 0.93:
            target = 2 * luminance(base) - target
        colour: np.ndarray = np.clip(hue + (target - luminance(hue)), 0.02, 0.98)
        return colour

    second = companion(0.15 if rng.random() < 0.5 else 0.85)
    third = companion(0.5)
    return Palette(name, base.astype(np.float32), second.astype(np.float32), third.astype(np.float32))


def mix(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Blend colours a to b (each (3,) or (H, W, 3)) by t (H, W) in [0, 1]; returns (H, W, 3) float32."""
    t = np.clip(t, 0, 1).astype(np.float32)[..., None]
    blended: np.ndarray = a * (1 - t) + b * t
    return blended


def step(d: np.ndarray, px: float, softness: float = 1.2) -> np.ndarray:
    """Anti-aliased d > 0, (H, W) in [0, 1]; ``px`` is one pixel in the units of d."""
    return np.clip(d / (px * softness) + 0.5, 0, 1)
