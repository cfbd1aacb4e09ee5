"""Tiny trees of data sets for the tests of the data layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adbench.data import catalogue
from adbench.data.images import open_image, open_mask
from adbench.data.sample import Sample

STRAYS = ("Thumbs.db", ".DS_Store", "._0.png", "readme.txt", "__MACOSX/0.png")


REAL_IAD = """{"meta": {"normal_class": "OK", "prefix": "pcb/"},
"train": [{"category": "pcb", "anomaly_class": "OK", "image_path": "OK/S1/a.jpg", "mask_path": null}],
"test": [{"category": "pcb", "anomaly_class": "HS", "image_path": "NG/HS/S2/b.jpg", "mask_path": "NG/HS/S2/b.png"}]}"""


@dataclass(frozen=True)
class Tree:
    """A tree and its index: `expected` lists "split class label key [mask [further mask ...]]"."""

    what: str
    name: str
    images: Sequence[str]
    expected: Sequence[str]
    masks: Sequence[str] = ()
    empty: Sequence[str] = ()  # masks without a value above 0
    texts: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    size: tuple[int, int] = (12, 10)


def plant(tree: Tree, root: Path, draw: Callable[..., Path]) -> Path:
    """Write a tree with `draw`, and stray files into every folder of images; return its root."""
    for names, options in ((tree.images, {}), (tree.masks, {"value": 255}), (tree.empty, {"value": 0})):
        for name in names:
            draw(root / name, size=tree.size, mode="L" if options else "RGB", **options)
    for folder in {(root / name).parent for name in tree.images}:
        for stray in STRAYS:
            (folder / stray).parent.mkdir(exist_ok=True)
            (folder / stray).write_bytes(b"stray")
    for name, text in tree.texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def rows(samples: Sequence[Sample], root: Path) -> list[str]:
    """What `Tree.expected` lists, of samples."""
    lines = []
    for s in samples:
        masks = [path.relative_to(root).as_posix() for path in (s.mask_path, *s.further_masks) if path is not None]
        assert s.path == root / s.key
        assert (s.defect == "good") == (s.label == 0)
        lines.append(" ".join([s.split, s.class_name, str(s.label), s.key, *masks]))
    return lines


def check_tree(case: Tree, root: Path, below: str, draw: Callable[..., Path]) -> list[Sample]:
    """Plant a tree in a folder `below` the root, and hold what is read against what is expected."""
    place = plant(case, root / below, draw)
    samples = catalogue.get(case.name).index(root, options=case.options)
    assert rows(samples, place) == list(case.expected)
    assert {sample.dataset for sample in samples} == {case.name}
    for sample in samples:
        size = open_image(sample.path).size
        assert np.asarray(open_mask(sample, size)).any() == (sample.mask_path is not None)
    assert catalogue.fingerprint(samples)
    return samples


def mvtec_like(name: str, class_name: str, *, normal: str = "good", suffix: str = "_mask.png") -> Tree:
    c = class_name
    return Tree(
        what="the layout of MVTec AD",
        name=name,
        images=[
            f"{c}/train/{normal}/0.bmp",
            f"{c}/test/{normal}/0.png",
            f"{c}/test/bent/1.PNG",
            f"{c}/test/bent/2.bmp",
        ],
        masks=[
            f"{c}/ground_truth/bent/1{suffix}",
            f"{c}/ground_truth/bent/2{suffix}",
            f"{c}/ground_truth/{normal}/0.png",
        ],
        expected=[
            f"train {c} 0 {c}/train/{normal}/0.bmp",
            f"test {c} 1 {c}/test/bent/1.PNG {c}/ground_truth/bent/1{suffix}",
            f"test {c} 1 {c}/test/bent/2.bmp {c}/ground_truth/bent/2{suffix}",
            f"test {c} 0 {c}/test/{normal}/0.png",
        ],
    )
