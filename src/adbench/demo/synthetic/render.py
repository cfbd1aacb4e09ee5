"""Draws a picture, or a pair that differs in a defect only: each a function of (class, seed, defect, size)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from .defects import DEFECTS, Scene
from .frame import Palette, luminance, make_frame, make_palette, mix, pixel_grid
from .noise import sample
from .objects import OBJECTS
from .textures import TEXTURES

VISIBLE = 0.05  # a pixel counts as changed when its mean change over the channels exceeds this (of 1)
MIN_CHANGED = 0.0055  # part of the picture that must change: 50 of 96 x 96 pixels
MIN_MEAN_CHANGE = 0.13  # and by how much these pixels must change on average
MAX_TRIES = 10


@dataclass(frozen=True)
class Pair:
    """The same scene without and with a defect: (H, W, 3) uint8 each, mask (H, W) bool, name of the main colour."""

    normal: np.ndarray
    defective: np.ndarray
    mask: np.ndarray
    colour: str


@dataclass(frozen=True)
class _Camera:
    """Light and lens of one picture: colours (H, W, 3) in, the exposed picture without sensor noise out."""

    gain: np.ndarray
    gamma: float
    blur: float

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        lit: np.ndarray = np.clip(rgb * self.gain, 0.0, 1.0) ** self.gamma
        for axis in (0, 1):
            pad = np.concatenate([lit.take([0], axis), lit, lit.take([-1], axis)], axis)
            n = lit.shape[axis]
            before, after = pad.take(range(n), axis), pad.take(range(2, n + 2), axis)
            lit = lit * (1 - 2 * self.blur) + (before + after) * self.blur
        return lit


def generator(class_name: str, seed: int, stream: int) -> np.random.Generator:
    """Independent random stream of one picture; crc32, as Python's own hash differs between processes."""
    return np.random.default_rng([zlib.crc32(class_name.encode()), seed, stream])


def _camera(size: int, rng: np.random.Generator) -> _Camera:
    x, y = pixel_grid(size)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.32)
    gain = rng.uniform(0.85, 1.12) * (1 + slope * (x * np.cos(angle) + y * np.sin(angle)))
    gain = gain * (1 - rng.uniform(0, 0.2) * (x**2 + y**2))
    white = 1 + rng.uniform(-0.05, 0.05, 3)
    return _Camera(
        (gain[..., None] * white).astype(np.float32), float(rng.uniform(0.85, 1.2)), float(rng.uniform(0.02, 0.16))
    )


def _background(size: int, palette: Palette, rng: np.random.Generator) -> np.ndarray:
    """A plain, cloudy or striped ground (H, W, 3) whose tone differs from the object's main colour."""
    x, y = pixel_grid(size)
    dark = luminance(palette.base) > 0.45
    level = rng.uniform(0.08, 0.25) if dark else rng.uniform(0.65, 0.9)
    a = np.clip(level + rng.uniform(-0.08, 0.08, 3), 0.02, 0.98).astype(np.float32)
    b = np.clip(a * rng.uniform(1.2, 1.9) if dark else a * rng.uniform(0.65, 0.85), 0, 1)
    style = rng.integers(3)
    if style == 0:
        t = 0.3 + 0.3 * sample("smooth", x, y, rng)
    elif style == 1:
        t = 0.5 + 0.8 * sample("cloud", x, y, rng) + 0.3 * sample("fine", x, y, rng)
    else:
        angle = rng.uniform(0, np.pi)
        t = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(10, 30))
    return mix(a, b, t)


def _scene(class_name: str, size: int, rng: np.random.Generator) -> tuple[Scene, Palette]:
    is_object = class_name in OBJECTS
    frame, palette = make_frame(size, rng, is_object=is_object), make_palette(rng)
    if not is_object:
        rgb = TEXTURES[class_name](frame, palette, rng).astype(np.float32)
        return Scene(np.clip(rgb, 0.02, 0.98), None, np.ones(rgb.shape[:2], bool)), palette
    background = _background(size, palette, rng)
    alpha, rgb = OBJECTS[class_name](frame, palette, rng)
    rgb = mix(background, np.clip(rgb, 0.02, 0.98).astype(np.float32), alpha)
    return Scene(rgb, background, alpha > 0.6), palette


def _closed(mask: np.ndarray) -> np.ndarray:
    """Morphological closing with a 3 x 3 square: fills specks where a defect has the surface's own colour."""
    n, m = mask.shape
    wide = np.pad(mask, 2)
    grown = np.zeros((n + 2, m + 2), bool)
    for i in range(3):
        for j in range(3):
            grown |= wide[i : i + n + 2, j : j + m + 2]
    kept = np.ones((n, m), bool)
    for i in range(3):
        for j in range(3):
            kept &= grown[i : i + n, j : j + m]
    return kept


def _apply(
    scene: Scene, defect: str, plain: np.ndarray, camera: _Camera, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the defect until it is visible, keeping the best of all tries; returns the exposed picture and the mask."""
    best, best_score = (plain, np.zeros(scene.region.shape, bool)), -1.0
    for _ in range(MAX_TRIES):
        rgb, support = DEFECTS[defect](scene, rng)
        support = support > 0.08
        picture = camera(np.clip(np.where(support[..., None], rgb, scene.rgb), 0.0, 1.0).astype(np.float32))
        change = np.abs(picture - plain).mean(-1)
        changed = change > VISIBLE
        area, strength = changed.mean(), change[changed].mean() if changed.any() else 0.0
        score = min(area / MIN_CHANGED, 1.0) * min(strength / MIN_MEAN_CHANGE, 1.0)
        if score > best_score:
            best, best_score = (picture, changed | (_closed(changed) & support)), score
        if score >= 1:
            break
    return best


def render_pair(class_name: str, seed: int, defect: str, size: int = 96) -> Pair:
    """The picture of ``seed`` without and with the defect: outside the mask the two are equal to the last bit."""
    scene, palette = _scene(class_name, size, generator(class_name, seed, 0))
    rng = generator(class_name, seed, 1)
    camera = _camera(size, rng)
    plain = camera(scene.rgb)
    noise = rng.normal(0, rng.uniform(0.006, 0.018), plain.shape).astype(np.float32)
    picture, mask = _apply(scene, defect, plain, camera, generator(class_name, seed, 2 + zlib.crc32(defect.encode())))
    normal = _to_uint8(plain + noise)
    return Pair(normal, np.where(mask[..., None], _to_uint8(picture + noise), normal), mask, palette.name)


def render(class_name: str, seed: int, defect: str | None = None, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """One picture (size, size, 3) uint8 and its mask (size, size) bool, empty without a defect."""
    if defect is not None:
        pair = render_pair(class_name, seed, defect, size)
        return pair.defective, pair.mask
    scene, _ = _scene(class_name, size, generator(class_name, seed, 0))
    rng = generator(class_name, seed, 1)
    plain = _camera(size, rng)(scene.rgb)
    noise = rng.normal(0, rng.uniform(0.006, 0.018), plain.shape).astype(np.float32)
    return _to_uint8(plain + noise), np.zeros((size, size), bool)


def _to_uint8(picture: np.ndarray) -> np.ndarray:
    levels: np.ndarray = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return levels
