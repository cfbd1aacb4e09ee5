"""The built-in demo data set: rendered on first use, held-out classes to test on and auxiliary classes to train on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, Progress, register
from adbench.data.mvtec_layout import index_class
from adbench.data.sample import Sample
from adbench.data.tree import listing, select
from adbench.demo.pictures import AUXILIARY_CLASSES, AUXILIARY_DIR, HELD_OUT_CLASSES, DemoCounts, render_demo

_COUNTS = DemoCounts()


def _prepare(root: Path, progress: Progress | None) -> None:
    render_demo(root, progress)


@register(
    "demo",
    title="Demo: a rendered world of textures and objects",
    domain="synthetic",
    task="classification and localisation",
    classes=(*HELD_OUT_CLASSES, *AUXILIARY_CLASSES),
    expected={
        name: Counts(train=_COUNTS.train, normal=_COUNTS.normal, anomalous=_COUNTS.defective)
        for name in HELD_OUT_CLASSES
    },
    licence="Apache-2.0 (rendered by this package)",
    source="adbench.demo.synthetic",
    citation="none",
    how_to_get="It renders itself into data/demo on first use",
    auxiliary_split="auxiliary",
    marks=("*/test",),
    prepare_root=_prepare,
    layout="""\
<held-out class>/{train,test}/good/NNN.png
<held-out class>/test/<kind>/NNN.png
<held-out class>/ground_truth/<kind>/NNN_mask.png
auxiliary/<class>/{test,ground_truth}/...""",
    quirks=(
        "Methods train on the auxiliary classes (split auxiliary) and are tested on the held-out ones. Neither these "
        "nor some kinds of defects were seen in training or in the demo CLIP's own training.",
        "Numbers on it say that a pipeline works, nothing about real images.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index held-out and auxiliary classes."""
    folders = listing(root).folders
    auxiliary = listing(root / AUXILIARY_DIR).folders if AUXILIARY_DIR in folders else ()
    for name in select((*folders, *auxiliary), classes, where=root):
        if name in auxiliary:
            splits = {"test": "auxiliary"}
            yield from index_class(root, f"{AUXILIARY_DIR}/{name}", dataset="demo", class_name=name, splits=splits)
        elif name != AUXILIARY_DIR:
            yield from index_class(root, name, dataset="demo", class_name=name)
