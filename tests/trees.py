"""Tiny trees of data sets for the tests of the data layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
