"""Plug-in files to test with, and a registry that forgets them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adbench.plugins import DATASETS, METHODS

METHOD = '''
"""A patch is as abnormal as its colour is far from a learned one."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from adbench.data.transforms import ClipTransform
from adbench.methods import Method, Prediction, register
from adbench.methods.losses import known_masks
from adbench.typed import PositiveFloat


@dataclass(frozen=True)
class Settings:
    gain: PositiveFloat = 2.0
    norm: Literal["l1", "l2"] = "l2"


@register("colour")
class Colour(Method):
    """Distance to a learned colour."""

    settings_class = Settings
    learns_from_masks = "also"

    def __init__(self, clip, settings):
        super().__init__(clip)
        self.settings = settings
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="before")
        self.colour = nn.Parameter(torch.full((3,), 0.1))

    def encode(self, batch):
        return {"images": batch.images}

    def maps(self, features):
        apart = features["images"] - self.colour[:, None, None]
        return self.settings.gain * (apart.abs().sum(1) if self.settings.norm == "l1" else apart.norm(dim=1))

    def loss(self, features, batch):
        maps = self.maps(features)
        image = nn.functional.binary_cross_entropy_with_logits(maps.flatten(1).amax(1), batch.labels.float())
        return {"image": image}

    def score(self, features, batch):
        maps = self.maps(features)
        return Prediction(maps.flatten(1).amax(1), maps)
'''

DATA = """
from adbench.data.catalogue import register
from adbench.data.sample import Sample


@register(
    "shelf", title="Things on a shelf", domain="industrial", task="classification", classes=(), licence="own",
    source="here", citation="none", how_to_get="take pictures", layout="good_N.png, bad_N.png",
)
def index(root, classes, *, suffix: str = ".png"):
    for number, path in enumerate(sorted(root.glob(f"*{suffix}"))):
        bad = path.name.startswith("bad")
        yield Sample(
            path=path, key=path.name, class_name="thing", label=int(bad), split="test",
            mask_path=None, defect="bad" if bad else "good", dataset="shelf",
        )
"""


def write_plugin(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def forgotten() -> Iterator[None]:
    """What plug-ins register within is gone afterwards."""
    try:
        yield
    finally:
        for registry in (METHODS, DATASETS):
            for name in list(registry._sources):
                del registry.entries[name], registry._sources[name]
