"""What stands on a road of the procedural world: upright pictures of known things, and of obstacles nobody trains on.

A sprite is a function (view, rng) -> (shape, colours): signed distance (h, w) > 0 inside, in metres, and (h, w, 3) in
about [0, 1]. Known things and obstacles share no texture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .frame import Frame, Palette, make_palette, mix, step
from .noise import sample
from .textures import TEXTURES


@dataclass(frozen=True)
class View:
    """Pixels of a sprite in metres: x from its middle, y from the ground up, (h, w) each; one pixel is `px` metres."""

    x: np.ndarray
    y: np.ndarray
    px: float


Part = tuple[np.ndarray, np.ndarray]
Sprite = Callable[[View, np.random.Generator], Part]


@dataclass(frozen=True)
class Kind:
    """A sprite with its range of (width, height) in metres, from the smallest to the largest."""

    draw: Sprite
    least: tuple[float, float]
    most: tuple[float, float]


def surface(
    name: str, view: View, rng: np.random.Generator, base: tuple[float, float, float], *, spread: float = 0.06
) -> np.ndarray:
    """A texture of the world in about the colour `base`, (h, w, 3); its companions are darker or lighter."""
    colour = np.clip(np.asarray(base) + rng.uniform(-spread, spread, 3), 0.03, 0.97).astype(np.float32)
    shade = 0.62 if colour.mean() > 0.3 else 1.55
    palette = Palette(
        "gray", colour, np.clip(colour * shade, 0.02, 0.98), np.clip(colour * (1 + shade) / 2, 0.02, 0.98)
    )
    scale = 1.4
    frame = Frame((view.x * scale).astype(np.float32), (view.y * scale).astype(np.float32), view.px * scale)
    return np.clip(TEXTURES[name](frame, palette, rng), 0, 1).astype(np.float32)


def _box(view: View, x0: float, x1: float, y0: float, y1: float, radius: float = 0.0) -> np.ndarray:
    """Signed distance to a rectangle with rounded corners, > 0 inside."""
    dx = np.abs(view.x - (x0 + x1) / 2) - (x1 - x0) / 2 + radius
    dy = np.abs(view.y - (y0 + y1) / 2) - (y1 - y0) / 2 + radius
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)
    inside: np.ndarray = radius - outside
    return inside


def _disc(view: View, x: float, y: float, rx: float, ry: float | None = None) -> np.ndarray:
    """Approximate signed distance to an ellipse, > 0 inside."""
    ry = rx if ry is None else ry
    distance: np.ndarray = (1 - np.hypot((view.x - x) / rx, (view.y - y) / ry)) * min(rx, ry)
    return distance


def _extent(view: View) -> tuple[float, float]:
    """Half the width and the height of the sprite's rectangle."""
    return float(view.x.max() + view.px / 2), float(view.y.max() + view.px / 2)


def _paint(rgb: np.ndarray, colour: np.ndarray | tuple[float, ...], shape: np.ndarray, px: float) -> np.ndarray:
    return mix(rgb, np.asarray(colour, np.float32), step(shape, px))


# Known things


def car(view: View, rng: np.random.Generator) -> Part:
    """Rear or front of a car: body, cabin with a window, lamps, wheels."""
    half, top = _extent(view)
    body = _box(view, -half, half, 0.14 * top, 0.62 * top, 0.1)
    cabin = _box(view, -0.74 * half, 0.74 * half, 0.5 * top, top, 0.22)
    wheels = np.maximum(
        *(_box(view, s - 0.1 * half, s + 0.1 * half, 0, 0.3 * top, 0.04) for s in (-0.74 * half, 0.74 * half))
    )
    paint = make_palette(rng).base
    rgb = surface("plastic", view, rng, tuple(paint))
    rgb = _paint(rgb, (0.12, 0.14, 0.18), _box(view, -0.6 * half, 0.6 * half, 0.62 * top, 0.92 * top, 0.12), view.px)
    lamp = (0.75, 0.12, 0.1) if rng.random() < 0.6 else (0.95, 0.93, 0.8)
    for side in (-0.8, 0.8):
        rgb = _paint(rgb, lamp, _box(view, (side - 0.14) * half, (side + 0.14) * half, 0.4 * top, 0.54 * top), view.px)
    rgb = _paint(rgb, (0.08, 0.08, 0.09), 0.14 * top - view.y, view.px)
    rgb = _paint(rgb, (0.85, 0.85, 0.8), _box(view, -0.22 * half, 0.22 * half, 0.24 * top, 0.36 * top), view.px)
    return np.maximum(np.maximum(body, cabin), wheels), rgb


def truck(view: View, rng: np.random.Generator) -> Part:
    """A lorry from behind: a tall box with doors over a dark chassis."""
    half, top = _extent(view)
    box = _box(view, -half, half, 0.2 * top, top, 0.04)
    chassis = _box(view, -0.85 * half, 0.85 * half, 0, 0.22 * top, 0.02)
    paint = make_palette(rng).base * 0.6 + 0.3
    rgb = surface("metal", view, rng, tuple(paint))
    rgb = _paint(rgb, paint * 0.6, 0.03 - np.abs(view.x), view.px)
    rgb = _paint(rgb, (0.1, 0.1, 0.11), 0.2 * top - view.y, view.px)
    for side in (-0.8, 0.8):
        rgb = _paint(rgb, (0.8, 0.15, 0.1), _disc(view, side * half, 0.25 * top, 0.07 * top), view.px)
    return np.maximum(box, chassis), rgb


def person(view: View, rng: np.random.Generator) -> Part:
    """A walker: head, trunk, two legs."""
    _, top = _extent(view)
    lean = rng.uniform(-0.03, 0.03) * top
    head = _disc(view, lean, 0.92 * top, 0.075 * top)
    trunk = _disc(view, lean / 2, 0.66 * top, 0.13 * top, 0.24 * top)
    stride = rng.uniform(0.02, 0.1) * top
    legs = np.maximum(
        *(0.06 * top - np.abs(view.x - side * stride * (1 - view.y / (0.5 * top))) for side in (-1.0, 1.0))
    )
    legs = np.minimum(legs, np.minimum(0.5 * top - view.y, view.y))
    rgb = surface("fabric", view, rng, tuple(make_palette(rng).base))
    rgb = _paint(rgb, make_palette(rng).base * 0.5, 0.5 * top - view.y, view.px)
    rgb = _paint(rgb, rng.uniform(0.4, 0.8) * np.array([1.0, 0.8, 0.68]), view.y - 0.83 * top, view.px)
    return np.maximum(np.maximum(head, trunk), legs), rgb


def pole(view: View, rng: np.random.Generator) -> Part:
    """A grey post."""
    return _box(view, -0.09, 0.09, 0, _extent(view)[1]), surface("stripes", view, rng, (0.45, 0.46, 0.48), spread=0.04)


def sign(view: View, rng: np.random.Generator) -> Part:
    """A round, triangular or square plate in signal colours at the top of its rectangle; its post is a `pole`."""
    half, top = _extent(view)
    middle, shape = top - half, int(rng.integers(3))
    plate = _disc(view, 0, middle, half)
    if shape == 1:
        plate = np.minimum(half - 1.9 * np.abs(view.x) - (view.y - middle), view.y - middle + 0.8 * half) * 0.5
    elif shape == 2:
        plate = _box(view, -0.8 * half, 0.8 * half, middle - 0.8 * half, middle + 0.8 * half, 0.05)
    edge, face = [((0.8, 0.1, 0.1), (0.95, 0.95, 0.93)), ((0.8, 0.1, 0.1), (0.96, 0.92, 0.6)), ((0.1, 0.25, 0.7),) * 2][
        shape
    ]
    rgb = np.broadcast_to(np.array(edge, np.float32), (*view.x.shape, 3))
    rgb = _paint(rgb, face, plate - 0.24 * half, view.px)
    return plate, _paint(
        rgb, (0.1, 0.1, 0.12), _box(view, -0.1, 0.1, middle - 0.3 * half, middle + 0.3 * half), view.px
    )


def tree(view: View, rng: np.random.Generator) -> Part:
    """A ragged crown on a short trunk, all one class."""
    half, top = _extent(view)
    ragged = 0.16 * half * sample("grain", view.x * 0.8, view.y * 0.8, rng)
    crown = np.maximum(
        _disc(view, 0, 0.66 * top, 0.84 * half, 0.32 * top),
        _disc(view, rng.uniform(-0.3, 0.3) * half, 0.52 * top, 0.66 * half, 0.26 * top),
    )
    rgb = surface("camouflage", view, rng, (0.2, 0.38, 0.16), spread=0.05)
    rgb = rgb * (0.8 + 0.35 * view.y / top)[..., None]
    trunk = np.minimum(0.08 * half - np.abs(view.x), 0.5 * top - view.y)
    rgb = np.where((crown < ragged)[..., None], np.array([0.26, 0.19, 0.13], np.float32), rgb)
    return np.maximum(crown + ragged, trunk), rgb


# Obstacles of the test split


def box(view: View, rng: np.random.Generator) -> Part:
    """A crate of boards."""
    half, top = _extent(view)
    d = _box(view, -half, half, 0, top)
    rgb = surface("wood", view, rng, (0.68, 0.5, 0.28))
    rgb = _paint(rgb, (0.4, 0.27, 0.13), 0.09 * top - np.abs(d - 0.05 * top), view.px)
    slope = np.abs(view.y - top * (view.x + half) / (2 * half))
    return d, _paint(rgb, (0.45, 0.31, 0.16), 0.07 * top - slope, view.px)


def tyre(view: View, rng: np.random.Generator) -> Part:
    """A tyre that stands: a ring with a tread."""
    half, top = _extent(view)
    d = np.minimum(_disc(view, 0, top / 2, half, top / 2), -_disc(view, 0, top / 2, 0.42 * half, 0.21 * top))
    rgb = surface("chevron", view, rng, (0.13, 0.13, 0.14), spread=0.02)
    ring = 0.05 * half - np.abs(np.hypot(view.x / half, (view.y - top / 2) / (top / 2)) - 0.72) * half
    return d, _paint(rgb, (0.45, 0.45, 0.46), ring, view.px)


def animal(view: View, rng: np.random.Generator) -> Part:
    """A four-legged animal from the side."""
    half, top = _extent(view)
    way = 1.0 if rng.random() < 0.5 else -1.0
    d = np.maximum(
        _disc(view, -0.1 * way * half, 0.58 * top, 0.72 * half, 0.22 * top),
        _disc(view, 0.74 * way * half, 0.82 * top, 0.24 * half, 0.17 * top),
    )
    neck = np.minimum(
        0.14 * half - np.abs(view.x - 0.6 * way * half), np.minimum(view.y - 0.55 * top, 0.85 * top - view.y)
    )
    d = np.maximum(d, neck)
    for leg in (-0.68, -0.44, 0.22, 0.46):
        post = np.minimum(0.09 * half - np.abs(view.x - leg * way * half), np.minimum(view.y, 0.55 * top - view.y))
        d = np.maximum(d, post)
    colours = ((0.62, 0.42, 0.26), (0.3, 0.22, 0.18), (0.86, 0.8, 0.72))
    return d, surface("leather", view, rng, colours[rng.integers(len(colours))])


def debris(view: View, rng: np.random.Generator) -> Part:
    """A heap of rubble."""
    half, top = _extent(view)
    height = top * (0.75 - 0.7 * (view.x / half) ** 2 + 0.25 * sample("grain", view.x, view.x * 0, rng, 1.2))
    return np.minimum(height - view.y, half - np.abs(view.x)), surface("terrazzo", view, rng, (0.66, 0.58, 0.5))


def caravan(view: View, rng: np.random.Generator) -> Part:
    """A light, round cabin on one axle, with a window and a stripe."""
    half, top = _extent(view)
    d = np.maximum(
        _box(view, -half, half, 0.12 * top, top, 0.3 * min(half, top)), _disc(view, 0, 0.13 * top, 0.16 * top)
    )
    rgb = surface("dots", view, rng, (0.9, 0.88, 0.82), spread=0.03)
    rgb = _paint(rgb, make_palette(rng).base, 0.07 * top - np.abs(view.y - 0.34 * top), view.px)
    rgb = _paint(rgb, (0.3, 0.42, 0.5), _box(view, -0.55 * half, 0.25 * half, 0.52 * top, 0.82 * top, 0.08), view.px)
    return d, _paint(rgb, (0.1, 0.1, 0.1), _disc(view, 0, 0.13 * top, 0.14 * top), view.px)


def cone(view: View, rng: np.random.Generator) -> Part:
    """A traffic cone with light bands."""
    half, top = _extent(view)
    slope = 0.7 * half * (1 - 0.86 * view.y / top) - np.abs(view.x)
    d = np.maximum(np.minimum(slope, top - view.y), _box(view, -half, half, 0, 0.1 * top))
    rgb = surface("paper", view, rng, (0.93, 0.42, 0.1), spread=0.03)
    bands = np.maximum(*(0.08 * top - np.abs(view.y - at * top) for at in (0.42, 0.72)))
    return d, _paint(rgb, (0.95, 0.94, 0.9), bands, view.px)


# Obstacles of the validation split


def barrel(view: View, rng: np.random.Generator) -> Part:
    """A drum with rings."""
    half, top = _extent(view)
    d = _box(view, -half, half, 0, top, 0.08)
    colours = ((0.15, 0.3, 0.6), (0.7, 0.16, 0.12), (0.2, 0.45, 0.25))
    rgb = surface("mosaic", view, rng, colours[rng.integers(len(colours))])
    rings = np.maximum(*(0.04 * top - np.abs(view.y - at * top) for at in (0.34, 0.68)))
    rgb = _paint(rgb, (0.8, 0.8, 0.78), rings, view.px)
    return d, rgb * np.clip(1.1 - 0.6 * np.abs(view.x / half) ** 2, 0, 1)[..., None]


def suitcase(view: View, rng: np.random.Generator) -> Part:
    """A case with a handle."""
    half, top = _extent(view)
    handle = np.minimum(
        _box(view, -0.4 * half, 0.4 * half, 0.7 * top, top, 0.05),
        -_box(view, -0.26 * half, 0.26 * half, 0.8 * top, 0.93 * top),
    )
    d = np.maximum(_box(view, -half, half, 0.05 * top, 0.82 * top, 0.1), handle)
    colours = ((0.5, 0.16, 0.42), (0.14, 0.42, 0.42), (0.72, 0.6, 0.16))
    rgb = surface("checkerboard", view, rng, colours[rng.integers(len(colours))])
    return d, _paint(rgb, (0.2, 0.18, 0.16), 0.03 * top - np.abs(np.abs(view.x) - 0.55 * half), view.px)


KNOWN: dict[str, Kind] = {
    "car": Kind(car, (1.7, 1.35), (2.0, 1.7)),
    "truck": Kind(truck, (2.3, 2.8), (2.6, 3.6)),
    "person": Kind(person, (0.8, 1.55), (0.9, 1.95)),
    "pole": Kind(pole, (0.3, 3.0), (0.3, 5.5)),
    "traffic sign": Kind(sign, (0.8, 2.6), (1.0, 3.2)),
    "vegetation": Kind(tree, (2.4, 3.4), (4.2, 6.5)),
}
TEST_OBSTACLES: dict[str, Kind] = {
    "box": Kind(box, (0.7, 0.6), (1.4, 1.2)),
    "tyre": Kind(tyre, (0.7, 0.7), (1.1, 1.1)),
    "animal": Kind(animal, (1.0, 0.8), (2.0, 1.5)),
    "debris": Kind(debris, (1.2, 0.5), (2.2, 1.0)),
    "caravan": Kind(caravan, (1.9, 1.8), (2.5, 2.3)),
    "cone": Kind(cone, (0.6, 0.8), (0.8, 1.1)),
}
VAL_OBSTACLES: dict[str, Kind] = {
    "barrel": Kind(barrel, (0.7, 0.9), (1.0, 1.3)),
    "suitcase": Kind(suitcase, (0.7, 0.8), (1.2, 1.2)),
}
