"""The built-in `road_demo` data set: rendered road scenes, classes to train on and obstacles nobody trains on.

<root>/road_demo.json                 version, counts and names of what was rendered
<root>/train/{images,labels}/000.png  labels: numbers of the classes, 255 unknown; no obstacles
<root>/val/{images,labels}/000.png    labels: 0 normal, 1 obstacle, 255 unknown
<root>/test/{images,labels}/000.png   the same, with kinds of obstacles that val does not have
<root>/{val,test}/obstacles.json      the kinds of obstacles in each picture
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adbench.demo.rendered import render_once
from adbench.demo.synthetic.road_scene import CLASSES, HEIGHT, ROAD_VERSION, WIDTH, RoadScene, render_road
from adbench.demo.synthetic.road_sprites import TEST_OBSTACLES, VAL_OBSTACLES

NOTE = "road_demo.json"
OBSTACLES = "obstacles.json"
# Where the seeds of a split begin: no two pictures share a scene.
_SEEDS = {"train": 0, "val": 1_000_000, "test": 2_000_000}
# Drawn from at random for every picture of val and test
_NUMBERS_OF_OBSTACLES = (0, 1, 1, 2, 2, 2, 3, 3)


@dataclass(frozen=True)
class RoadCounts:
    """Pictures per split. About one of eight pictures of val and test holds no obstacle."""

    train: int = 240
    val: int = 40
    test: int = 80


def render_road_demo(
    root: Path, progress: Callable[[int, int], None] | None = None, *, counts: RoadCounts | None = None
) -> None:
    """Render the data set to ``root`` unless it is there; ``progress(done, total)`` counts pictures."""
    counts = counts or RoadCounts()
    facts = {
        "road_version": ROAD_VERSION,
        "counts": asdict(counts),
        "size": [HEIGHT, WIDTH],
        "classes": list(CLASSES),
        "obstacles": {"val": sorted(VAL_OBSTACLES), "test": sorted(TEST_OBSTACLES)},
    }
    render_once(root / NOTE, facts, lambda draft: _draw_all(draft, counts, progress))


def scene(split: str, number: int) -> RoadScene:
    """Picture `number` of a split."""
    seed = _SEEDS[split] + number
    if split == "train":
        return render_road(seed)
    n_obstacles = int(np.random.default_rng([seed, 77]).choice(_NUMBERS_OF_OBSTACLES))
    return render_road(seed, VAL_OBSTACLES if split == "val" else TEST_OBSTACLES, n_obstacles=n_obstacles)


def _draw_all(draft: Path, counts: RoadCounts, progress: Callable[[int, int], None] | None) -> None:
    done, total = 0, sum(asdict(counts).values())
    for split, count in asdict(counts).items():
        names = {}
        for number in range(count):
            made = scene(split, number)
            file = f"{number:03d}.png"
            _save(draft / split / "images" / file, made.image)
            _save(draft / split / "labels" / file, made.classes if split == "train" else made.anomalies())
            names[file] = sorted(set(made.names))
            done += 1
            if progress is not None:
                progress(done, total)
        if split != "train":
            (draft / split / OBSTACLES).write_text(json.dumps(names, indent=1), encoding="utf-8")


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
