"""What the world consists of, and which parts of it the demo CLIP never sees in pre-training."""

from __future__ import annotations

from .defects import DEFECTS
from .objects import OBJECTS
from .textures import TEXTURES

# Raise whenever a picture may change: rendered data sets of another version are drawn anew.
WORLD_VERSION = 1

CLASSES: tuple[str, ...] = (*TEXTURES, *OBJECTS)
DEFECT_KINDS: tuple[str, ...] = tuple(DEFECTS)

HELD_OUT_CLASSES: tuple[str, ...] = ("brick", "hexagon", "marble", "carpet", "gear", "tablet", "nut", "chip")
HELD_OUT_KINDS: tuple[str, ...] = ("thread", "bubble")

# Pre-training classes whose new pictures make up the auxiliary set on which methods learn. Many classes with few
# pictures each: a method that learns on few classes does worse on new ones.
AUXILIARY_CLASSES: tuple[str, ...] = (
    *("fabric", "wood", "tile", "granite", "leather", "grid", "checkerboard", "metal", "stripes", "dots"),
    *("capsule", "washer", "button", "coin", "screw", "acorn", "cable", "crayon", "leaf", "cookie"),
)

PRETRAINING_CLASSES: tuple[str, ...] = tuple(c for c in CLASSES if c not in HELD_OUT_CLASSES)
PRETRAINING_KINDS: tuple[str, ...] = tuple(k for k in DEFECT_KINDS if k not in HELD_OUT_KINDS)

# Seeds are shared out in ranges, so that no picture of a rendered data set was ever drawn for pre-training.
PRETRAINING_SEEDS = range(0, 10_000_000)
AUXILIARY_SEEDS = range(10_000_000, 20_000_000)
HELD_OUT_SEEDS = range(20_000_000, 30_000_000)
