"""DAGM 2007: artificial textures with weakly annotated defects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.masks import nearest
from adbench.data.mvtec_layout import class_folders, index_class
from adbench.data.paired_folders import arranged_layout
from adbench.data.sample import Sample
from adbench.data.stems import bare, numbered, without_word
from adbench.data.survey import Entry, guarded
from adbench.data.tree import has, listing, named, select, through
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
def index(root: Path, classes: Sequence[str] | None, *, official_split: bool = False) -> Iterator[Entry]:
    """Index the raw folders of each class, or AdaCLIP's arrangement of it."""
    folders = class_folders(root, _CLASSES)
    for name in select(folders, classes, where=root):
        folder = next((place for place in through(root, folders[name]) if _states(root / place)), folders[name])
        if _states(root / folder) and not has(root / folder, "test/good"):
            for state, split in _states(root / folder).items():
                yield from guarded(name, _state(root, folder, name, state, split if official_split else None))
        elif official_split:
            where, hint = "data.official_split", "leave it out, or unpack the archives"
            raise UserError(f"{name} does not have the folders Train and Test", where=where, hint=hint)
        else:
            yield from guarded(name, index_class(root, folder, dataset="dagm", class_name=name))


def _states(folder: Path) -> dict[str, str]:
    """Folder -> split, of the folders Train and Test."""
    splits_of_folders = {named(listing(folder).folders, state, where=folder): split for state, split in _STATES.items()}
    return {state: split for state, split in splits_of_folders.items() if state is not None}


def _state(root: Path, place: str, name: str, state: str, split: str | None) -> Iterator[Sample]:
    """Yield the images of one class's Train or Test folder; without a split, balanced over both."""
    folder = listing(root / place / state)
    labels = _labels(folder.path / (named(folder.folders, _LABELS, where=folder.path) or _LABELS), folder.images)
    n_normal = 0
    for image in folder.images:
        anomalous = image in labels
        n_normal += not anomalous
        balanced = "test" if anomalous or n_normal <= len(labels) else "train"
        yield Sample.below(
            root,
            f"{place}/{state}/{image}",
            dataset="dagm",
            class_name=name,
            split=split or balanced,
            defect="defect" if anomalous else None,
            masks=[labels[image]] if anomalous else [],
        )


def _labels(folder: Path, images: Sequence[str]) -> dict[str, Path]:
    """Image -> label of the images that have one. Raises UserError for labels that belong to no image."""
    by_number = {numbered(bare(image)): image for image in images}
    labels: dict[str, Path] = {}
    for label in listing(folder).images:
        image = by_number.get(numbered(without_word(label)[0]))
        if image is None:
            hint = f"expected the label NNNN_label of an image NNNN; the nearest is {nearest(label, images)!r}"
            raise UserError(f"{label} belongs to no image", where=str(folder), hint=hint)
        if image in labels:
            both = f"{labels[image].name} and {label}"
            raise UserError(f"two labels belong to one image: {both}", where=str(folder), hint="remove one of them")
        labels[image] = folder / label
    return labels
