"""What a reader of the pages has: a demo, smaller than it is, pictures of his own, and one training."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.cli import demo
from adbench.cli.main import main
from adbench.data import catalogue
from adbench.demo import pictures, roads
from adbench.demo.synthetic import render
from adbench.plugins import DATASETS

SHORT = {
    "train": ("trainer.epochs=1", "trainer.steps_per_epoch=2"),
    "bench": ("repeats=1", "images=2", "picture=64"),
}
"""What is added to a command to make it short, unless it says so itself."""


def shorten(words: list[str]) -> list[str]:
    """The words of a command, shortened."""
    added = [*SHORT.get(words[0], ())]
    if "method=promptad" in words and "checkpoint=latest" not in words:
        added.append("method.epochs=1")
    given = {word.partition("=")[0] for word in words}
    return [*words, *(word for word in added if word.partition("=")[0] not in given)]


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Let the rendered worlds have a few pictures of a few classes, and the demo train two steps."""
    patch.setattr(pictures, "HELD_OUT_CLASSES", pictures.HELD_OUT_CLASSES[-3:])
    patch.setattr(pictures, "AUXILIARY_CLASSES", pictures.AUXILIARY_CLASSES[:8])
    few = partial(pictures.DemoCounts, train=4, normal=4, defective=3, auxiliary_normal=1, auxiliary_defective=1)
    patch.setattr(pictures, "DemoCounts", few)
    classes = (*pictures.HELD_OUT_CLASSES, *pictures.AUXILIARY_CLASSES)
    patch.setitem(DATASETS.entries, "demo", replace(catalogue.get("demo"), classes=classes, expected={}))
    patch.setattr(roads, "RoadCounts", partial(roads.RoadCounts, train=8, val=2, test=2))
    patch.setattr(demo, "TRAIN", " ".join(shorten(["train", *demo.TRAIN.split()])[1:]))


def prepare(folder: Path) -> None:
    """Fill the working folder of a reader."""
    _draw(folder / "pictures", first_seed=0, n=2, kinds=(None, "hole"))
    _draw(folder / "normal", first_seed=100, n=30, kinds=(None,))
    _draw(folder / "labelled" / "good", first_seed=200, n=4, kinds=(None,))
    _draw(folder / "labelled" / "bad", first_seed=300, n=4, kinds=("hole",), masks=folder / "labelled" / "masks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(shorten(["train", "method=adaclip", "data=demo", "clip=demo"])) == 0


def _draw(folder: Path, *, first_seed: int, n: int, kinds: tuple[str | None, ...], masks: Path | None = None) -> None:
    folder.mkdir(parents=True)
    for number in range(n):
        for kind in kinds:
            image, mask = render("nut", 40_000_000 + first_seed + number, kind)
            name = f"{kind or 'normal'}_{number:02d}.png"
            Image.fromarray(image).save(folder / name)
            if masks is not None:
                masks.mkdir(exist_ok=True)
                Image.fromarray(mask.astype(np.uint8) * 255).save(masks / name)
