"""Road scenes of the procedural world: a camera above a road between houses, every pixel labelled.

A picture is a pure function of its seed and of the kinds of obstacles that may lie in it. The ground is a plane, houses
stand along two planes beside the road, everything else is an upright sprite (`road_sprites`), painted from far to near.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .frame import make_palette, mix, step
from .noise import sample
from .road_sprites import KNOWN, Kind, View, surface

# Raise whenever a picture may change: rendered data sets of another version are drawn anew.
ROAD_VERSION = 2
CLASSES = (
    *("road", "sidewalk", "building", "pole", "traffic sign", "vegetation", "terrain", "sky"),
    *("person", "car", "truck"),
)
IGNORE = 255
HEIGHT, WIDTH = 96, 192
_FOCAL = 112.0  # pixels
_NEAREST, _FARTHEST = 4.0, 34.0  # metres at which things stand
_ID = {name: number for number, name in enumerate(CLASSES)}


@dataclass(frozen=True)
class RoadScene:
    """A picture (H, W, 3) uint8, its class per pixel (H, W) uint8 with 255 on the own bonnet, its obstacles.

    obstacles  (H, W) uint8: 0, or the number of the obstacle from 1 on whose pixel it is
    names      kind of each obstacle, in the order of its number
    """

    image: np.ndarray
    classes: np.ndarray
    obstacles: np.ndarray
    names: tuple[str, ...]

    def anomalies(self) -> np.ndarray:
        """Labels for evaluation (H, W) uint8: 1 on obstacles, 255 at their feet and on the bonnet, else 0.

        Unknown is the border below an obstacle alone, where it mixes with its shadow: all around, unknown pixels would
        cut every obstacle out of whatever is predicted, and even a prediction of everything would have its components.
        """
        inside = self.obstacles > 0
        labels = np.where(inside, 1, 0).astype(np.uint8)
        labels[_below(inside) & ~inside] = IGNORE
        labels[self.classes == IGNORE] = IGNORE
        return labels


@dataclass
class _Canvas:
    """The picture while it is painted, in colours before light and camera."""

    rgb: np.ndarray
    classes: np.ndarray
    obstacles: np.ndarray
    horizon: float
    bend: float  # sideways metres of the road's middle per square metre of depth
    camera: float  # height in metres

    def row(self, depth: float) -> float:
        """Where the ground at `depth` lies."""
        return self.horizon + _FOCAL * self.camera / depth

    def column(self, x: float, depth: float) -> float:
        """Where `x` metres right of the road's middle lies at `depth`."""
        return WIDTH / 2 + _FOCAL * (x + self.bend * depth * depth) / depth

    def fill(self, mask: np.ndarray, rgb: np.ndarray, name: str) -> None:
        """Paint the pixels of `mask` (H, W), colours (H, W, 3)."""
        self.rgb[mask] = rgb[mask]
        self.classes[mask] = _ID[name]


def render_road(seed: int, obstacles: Mapping[str, Kind] | None = None, *, n_obstacles: int = 0) -> RoadScene:
    """Draw the scene of `seed`, with `n_obstacles` of the given kinds on or beside the road."""
    rng = np.random.default_rng([9412, seed])
    canvas = _Canvas(
        rgb=np.zeros((HEIGHT, WIDTH, 3), np.float32),
        classes=np.full((HEIGHT, WIDTH), _ID["sky"], np.uint8),
        obstacles=np.zeros((HEIGHT, WIDTH), np.uint8),
        horizon=HEIGHT * rng.uniform(0.36, 0.46),
        bend=rng.uniform(-0.004, 0.004),
        camera=rng.uniform(1.4, 1.8),
    )
    half = rng.uniform(2.9, 4.2)  # of the road, in metres
    walk = rng.uniform(1.4, 2.6)
    _sky(canvas, rng)
    _houses(canvas, half + walk, rng)
    _ground(canvas, half, walk, rng)
    names = _stand(canvas, half, walk, obstacles or {}, n_obstacles, rng)
    _bonnet(canvas, rng)
    return RoadScene(_exposed(canvas.rgb, rng), canvas.classes, canvas.obstacles, names)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return x + 0.5, y + 0.5


def _sky(canvas: _Canvas, rng: np.random.Generator) -> None:
    x, y = _grid()
    high, low = ((0.32, 0.5, 0.78), (0.7, 0.8, 0.92)) if rng.random() < 0.6 else ((0.6, 0.63, 0.68), (0.8, 0.81, 0.83))
    rgb = mix(np.array(high, np.float32), np.array(low, np.float32), y / canvas.horizon)
    cloud = 0.5 * sample("cloud", x / 40, y / 16, rng) * rng.uniform(0.3, 1.0)
    canvas.fill(np.ones(x.shape, bool), mix(rgb, np.array([0.93, 0.93, 0.94], np.float32), cloud), "sky")
    hills = canvas.horizon - 3 - 5 * (1 + sample("smooth", x / 60, x * 0, rng))
    leaves = surface("camouflage", View(x / 12, y / 12, 1 / 12), rng, (0.28, 0.4, 0.26), spread=0.03)
    canvas.fill(y > hills, mix(leaves, np.array(low, np.float32), np.full(x.shape, 0.35)), "vegetation")


def _houses(canvas: _Canvas, wall: float, rng: np.random.Generator) -> None:
    """Blocks of houses with gaps, along planes `wall` metres and more from the road's middle."""
    x, y = _grid()
    for side in (-1.0, 1.0):
        distance = wall + rng.uniform(0.0, 5.0)
        sideways = side * (x - WIDTH / 2)
        depth = distance * _FOCAL / np.maximum(sideways, 1e-3)  # where the ray of a column meets the plane
        up = canvas.camera + (canvas.horizon - y) * depth / _FOCAL  # metres above the ground there
        edges = np.cumsum(rng.uniform(5, 13, 8)) + rng.uniform(-6, 0)
        for start, end in pairwise(edges):
            height = rng.uniform(4.5, 13)
            inside = (sideways > 0) & (depth > start) & (depth < end) & (up > 0) & (up < height)
            if rng.random() < 0.2 or not inside.any():
                continue
            colour = np.asarray(make_palette(rng).base) * 0.45 + 0.38
            along, storey = depth.astype(np.float32), rng.uniform(2.6, 3.4)
            rgb = surface("concrete", View(along * 0.4, up * 0.4, 0.05), rng, tuple(colour))
            rgb = rgb * np.float32(1.0 if side > 0 else 0.82)
            width = rng.uniform(1.6, 2.6)
            window = (np.abs(along % width - width / 2) < 0.28 * width) & (
                np.abs(up % storey - 0.55 * storey) < 0.27 * storey
            )
            glass = np.array([0.2, 0.26, 0.33], np.float32) * np.float32(rng.uniform(0.7, 1.5))
            canvas.fill(inside, np.where((window & (depth < 28))[..., None], glass, rgb), "building")


def _ground(canvas: _Canvas, half: float, walk: float, rng: np.random.Generator) -> None:
    x, y = _grid()
    depth = _FOCAL * canvas.camera / np.maximum(y - canvas.horizon, 1e-3)
    near = depth < 90
    depth = np.minimum(depth, 90).astype(np.float32)
    across = ((x - WIDTH / 2) * depth / _FOCAL - canvas.bend * depth * depth).astype(np.float32)
    below = (y > canvas.horizon) & near & (np.abs(across) < half + walk + 12)
    view = View(across * 0.5, depth * 0.25, 0.04)
    fade = np.clip(depth / 40, 0, 1)  # far away a texture is its mean
    beside = below & (canvas.classes != _ID["building"])
    for name, texture, base, mask in (
        ("terrain", "cork", (0.42, 0.46, 0.24), beside & (np.abs(across) >= half + walk)),
        ("sidewalk", "tile", (0.62, 0.58, 0.54), below & (np.abs(across) < half + walk)),
        ("road", "granite", (0.36, 0.36, 0.38), below & (np.abs(across) < half)),
    ):
        rgb = surface(texture, view, rng, base, spread=0.05)
        canvas.fill(mask, mix(rgb, rgb.reshape(-1, 3).mean(0), fade), name)
    worn = 1 + 0.12 * sample("cloud", across * 0.2, depth * 0.05, rng)
    canvas.rgb = np.where((canvas.classes == _ID["road"])[..., None], canvas.rgb * worn[..., None], canvas.rgb)
    dashes = (np.abs(across) < 0.09) & (depth % 6 < rng.uniform(2, 6))
    sides = np.abs(np.abs(across) - half + 0.25) < 0.07
    lines = (dashes | (sides if rng.random() < 0.6 else dashes)) & (canvas.classes == _ID["road"]) & (depth < 30)
    canvas.rgb = mix(canvas.rgb, np.array([0.86, 0.85, 0.8], np.float32), 0.8 * lines)


def _stand(
    canvas: _Canvas,
    half: float,
    walk: float,
    obstacles: Mapping[str, Kind],
    n_obstacles: int,
    rng: np.random.Generator,
) -> tuple[str, ...]:
    """Put up things and obstacles, far ones first. Returns the kinds of the obstacles that can be seen."""
    standing: list[tuple[float, float, str, Kind, bool]] = []  # depth, metres from the middle, class or kind
    for name, count in (
        *(("vegetation", rng.integers(1, 6)), ("pole", rng.integers(1, 5)), ("traffic sign", rng.integers(1, 4))),
        *(("person", rng.integers(0, 5)), ("car", rng.integers(1, 5)), ("truck", rng.integers(0, 2))),
    ):
        for _ in range(int(count)):
            depth, side = _FARTHEST * rng.uniform(0.16, 1.0), rng.choice([-1.0, 1.0])
            across = side * (half + rng.uniform(0.3, walk))
            if name in ("car", "truck"):
                across = side * (half * rng.uniform(0.4, 0.6) if rng.random() < 0.7 else half - 0.6)
            elif name == "vegetation":
                across = side * (half + walk * rng.uniform(0.6, 2.2))
            standing.append((depth, across, name, KNOWN[name], False))
    kinds = sorted(obstacles)
    for _ in range(n_obstacles):
        kind = kinds[int(rng.integers(len(kinds)))]
        depth = rng.uniform(_NEAREST, 13.0)
        across = rng.uniform(-0.85, 0.85) * half if rng.random() < 0.75 else rng.choice([-1.0, 1.0]) * (half + walk / 2)
        standing.append((depth, float(across), kind, obstacles[kind], True))
    names: list[str] = []
    for depth, across, name, kind_, strange in sorted(standing, key=lambda one: (-one[0], one[1])):
        if strange:
            names.append(name)
        _put(canvas, depth, across, name, kind_, len(names) if strange else 0, rng)
    return tuple(names)


def _put(
    canvas: _Canvas, depth: float, across: float, name: str, kind: Kind, number: int, rng: np.random.Generator
) -> None:
    """Paint one sprite with its shadow; `number` is that of an obstacle, 0 for a known thing."""
    width, height = (rng.uniform(low, high) for low, high in zip(kind.least, kind.most, strict=True))
    px = depth / _FOCAL  # metres to a pixel
    foot, middle = canvas.row(depth), canvas.column(across, depth)
    rows = np.arange(max(0, int(foot - height / px)), min(HEIGHT, int(foot) + 1))
    columns = np.arange(max(0, int(middle - width / px / 2)), min(WIDTH, int(middle + width / px / 2) + 1))
    if not len(rows) or not len(columns):
        return
    y, x = np.meshgrid((foot - rows - 0.5) * px, (columns + 0.5 - middle) * px, indexing="ij")
    # The corners of the whole rectangle are handed along, so that a sprite cut by the picture's edge keeps its form.
    view = _whole(x.astype(np.float32), y.astype(np.float32), px, width, height)
    shape, rgb = kind.draw(view, rng)
    shape, rgb = shape[: len(rows), : len(columns)], rgb[: len(rows), : len(columns)]
    alpha = step(shape, px, 1.0)
    window = np.ix_(rows, columns)
    _shade(canvas, foot, middle, width / px)
    if name == "traffic sign":
        _post(canvas, foot, middle, px, int(foot - (height - width) / px), rng)
    canvas.rgb[window] = mix(canvas.rgb[window], np.clip(rgb, 0.02, 0.98).astype(np.float32), alpha)
    inside = alpha > 0.5
    obstacles, classes = canvas.obstacles[window], canvas.classes[window]
    obstacles[inside] = number
    if not number:
        classes[inside] = _ID[name]
    canvas.obstacles[window], canvas.classes[window] = obstacles, classes


def _post(canvas: _Canvas, foot: float, middle: float, px: float, top: int, rng: np.random.Generator) -> None:
    """The pole below a traffic sign."""
    rows = np.arange(max(0, top), min(HEIGHT, int(foot) + 1))
    columns = np.arange(
        max(0, round(middle - 0.07 / px)), min(WIDTH, max(round(middle + 0.07 / px), round(middle) + 1))
    )
    window = np.ix_(rows, columns)
    canvas.rgb[window] = np.array([0.42, 0.43, 0.45], np.float32) * np.float32(rng.uniform(0.8, 1.2))
    canvas.classes[window] = _ID["pole"]
    canvas.obstacles[window] = 0


def _whole(x: np.ndarray, y: np.ndarray, px: float, width: float, height: float) -> View:
    """The pixels of a sprite with one row and one column more, which reach its rectangle's upper right corner."""
    x = np.pad(x, ((0, 1), (0, 1)), mode="edge")
    y = np.pad(y, ((0, 1), (0, 1)), mode="edge")
    x[:, -1], y[-1, :] = width / 2 - px / 2, height - px / 2
    return View(x, y, px)


def _shade(canvas: _Canvas, foot: float, middle: float, width: float) -> None:
    """A soft shadow on the ground around a foot."""
    x, y = _grid()
    away = np.hypot((x - middle) / max(0.62 * width, 1.5), (y - foot) / max(0.1 * width, 1.0))
    canvas.rgb *= (1 - 0.35 * np.clip(1.2 - away, 0, 1) * (y > canvas.horizon))[..., None].astype(np.float32)


def _bonnet(canvas: _Canvas, rng: np.random.Generator) -> None:
    """The own car's bonnet at the lower edge: 255."""
    x, y = _grid()
    top = HEIGHT * rng.uniform(0.93, 0.97)
    mask = y > top + 6 * ((x - WIDTH / 2) / (WIDTH / 2)) ** 2
    canvas.rgb[mask] = make_palette(rng).base * 0.5
    canvas.classes[mask] = IGNORE
    canvas.obstacles[mask] = 0


def _exposed(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, lens and sensor."""
    x, y = _grid()
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    gain = rng.uniform(0.75, 1.12) * (
        1 + slope * ((x / WIDTH - 0.5) * np.cos(angle) + (y / HEIGHT - 0.5) * np.sin(angle))
    )
    warm = 1 + rng.uniform(-0.06, 0.06) * np.array([1.0, 0.0, -1.0])
    lit = np.clip(rgb * gain[..., None] * warm, 0, 1) ** rng.uniform(0.85, 1.2)
    soft = rng.uniform(0.05, 0.18)
    for axis in (0, 1):
        lit = lit * (1 - 2 * soft) + soft * (np.roll(lit, 1, axis) + np.roll(lit, -1, axis))
    lit = lit + rng.normal(0, rng.uniform(0.005, 0.018), lit.shape)
    pixels: np.ndarray = np.round(np.clip(lit, 0, 1) * 255).astype(np.uint8)
    return pixels


def _below(mask: np.ndarray) -> np.ndarray:
    """Pixels that have one of `mask` directly or diagonally above them, up to two rows."""
    wide = np.pad(mask, ((2, 0), (1, 1)))
    height, width = mask.shape
    below: np.ndarray = np.logical_or.reduce([wide[i : i + height, j : j + width] for i in (0, 1) for j in (0, 1, 2)])
    return below
