"""A procedural world of textures and objects with defects: numpy only, each picture a pure function of its seed.

>>> image, mask = render("button", seed=3, defect="scratch")
>>> image.shape, bool(mask.any())
((96, 96, 3), True)
"""

from .render import Pair, render, render_pair
from .world import (
    AUXILIARY_CLASSES,
    CLASSES,
    DEFECT_KINDS,
    HELD_OUT_CLASSES,
    HELD_OUT_KINDS,
    PRETRAINING_CLASSES,
    PRETRAINING_KINDS,
    WORLD_VERSION,
)

__all__ = [
    "AUXILIARY_CLASSES",
    "CLASSES",
    "DEFECT_KINDS",
    "HELD_OUT_CLASSES",
    "HELD_OUT_KINDS",
    "PRETRAINING_CLASSES",
    "PRETRAINING_KINDS",
    "WORLD_VERSION",
    "Pair",
    "render",
    "render_pair",
]
