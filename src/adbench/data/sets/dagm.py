"""DAGM 2007: artificial textures with weakly annotated defects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.mvtec_layout import index_class
from adbench.data.paired_folders import arranged_layout
from adbench.data.sample import Sample
from adbench.data.tree import listing, select
from adbench.errors import UserError

_CLASSES = tuple(f"Class{number}" for number in range(1, 11))
_STATES = {"Train": "train", "Test": "test"}
# Normal and anomalous images of a class, in Train and Test together.
_COUNTS = {name: (1000, 150) if number <= 6 else (2000, 300) for number, name in enumerate(_CLASSES, start=1)}
_LABELS = "Label"


@register(
    "dagm",
    title="DAGM 2007: Weakly Supervised Learning for Industrial Optical Inspection",
    domain="industrial",
    task="classification and localisation",
    classes=_CLASSES,
    # Of the balanced split: as many normal test images as anomalous ones.
    expected={name: Counts(train=n - a, normal=a, anomalous=a) for name, (n, a) in _COUNTS.items()},
    licence="none stated; its page calls the data publicly available",
    source="https://hci.iwr.uni-heidelberg.de/content/weakly-supervised-learning-industrial-optical-inspection",
    citation="M. Wieler, T. Hahn: Weakly Supervised Learning for Industrial Optical Inspection. DAGM 2007; "
    "doi:10.5281/zenodo.12750201",
    how_to_get="Download the ten archives from the source page (or https://zenodo.org/records/12750201) and unpack "
    "them to data/dagm",
    folders=("DAGM_KaggleUpload", "DAGM2007", "DAGM_anomaly_detection", "DAGM"),
    marks=("Class*/Train", "Class*/Test", "Class*/test"),
    layout="""\
<class>/{Train,Test}/NNNN.PNG
<class>/{Train,Test}/Label/NNNN_label.PNG       of anomalous images only
<class>/{Train,Test}/Label/Labels.txt           not read
"""
    + arranged_layout("<class>"),
    quirks=(
        "An image is anomalous where it has a label. Labels are coarse ellipses around the defect.",
        "The split is AdaCLIP's: Train and Test are taken together; all anomalous images are for the test, and of each "
        "of the two folders as many normal images, the first by name, as it has anomalous ones; the other normal "
        "images are for training. AdaCLIP takes the first in the order of the file system: the same numbers, not the "
        "same images.",
        "data.official_split=true keeps Train and Test apart, as AnomalyCLIP does: anomalous images of Train are "
        "training images then.",
    ),
)
def index(root: Path, classes: Sequence[str] | None, *, official_split: bool = False) -> Iterator[Sample]:
    """Index the raw folders of each class, or AdaCLIP's arrangement of it."""
    found = [name for name in listing(root).folders if name in _CLASSES]
    for name in select(found, classes, where=root):
        states = [state for state in listing(root / name).folders if state in _STATES]
        if states:
            for state in states:
                yield from _state(root, name, state, official_split)
        elif official_split:
            where, mend = "data.official_split", "leave it out, or unpack the archives"
            raise UserError(f"{name} does not have the folders Train and Test", where=where, mend=mend)
        else:
            yield from index_class(root, name, dataset="dagm", class_name=name)


def _state(root: Path, name: str, state: str, official_split: bool) -> Iterator[Sample]:
    """Yield the images of one class's Train or Test folder."""
    folder = listing(root / name / state)
    labels = _labels(folder.path, folder.images)
    n_normal = 0
    for image in folder.images:
        anomalous = image in labels
        n_normal += not anomalous
        balanced = "test" if anomalous or n_normal <= len(labels) else "train"
        yield Sample(
            path=folder.path / image,
            key=f"{name}/{state}/{image}",
            class_name=name,
            label=int(anomalous),
            mask_path=folder.path / _LABELS / labels[image] if anomalous else None,
            split=_STATES[state] if official_split else balanced,
            defect="defect" if anomalous else "good",
            dataset="dagm",
        )


def _labels(folder: Path, images: Sequence[str]) -> dict[str, str]:
    """Image -> label of the images that have one. Raises UserError for labels that belong to no image."""
    by_stem = {os.path.splitext(image)[0]: image for image in images}
    labels = {}
    for label in listing(folder / _LABELS).images:
        stem = os.path.splitext(label)[0]
        image = by_stem.get(stem.removesuffix("_label"))
        if image is None:
            mend = f"expected the label NNNN_label of an image NNNN in {folder}"
            raise UserError(f"{label} belongs to no image", where=str(folder / _LABELS), mend=mend)
        labels[image] = label
    return labels
