"""MVTec AD 2: eight scenarios under several lights; two of its three test sets are measured on the authors' server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.mvtec_layout import VALIDATION, class_folders, class_place, index_class
from adbench.data.sample import Sample
from adbench.data.survey import Entry, guarded
from adbench.data.tree import listing, named, select

_PUBLIC = "test_public"
_PRIVATE = {"test_private": "regular", "test_private_mixed": "mixed"}
_SPLITS = {"train": "train", **VALIDATION, _PUBLIC: _PUBLIC}
# class: training, validation, normal and anomalous public test images, private ones; size.
_COUNTS = {
    "can": (412, 46, 72, 90, 321, (2232, 1024)),
    "fabric": (387, 43, 66, 90, 314, (2448, 2048)),
    "fruit_jelly": (263, 37, 20, 60, 255, (2100, 1520)),
    "rice": (313, 35, 42, 90, 277, (2448, 2048)),
    "sheet_metal": (137, 19, 24, 90, 142, (4224, 1056)),
    "vial": (291, 41, 35, 105, 276, (1400, 1900)),
    "wallplugs": (293, 33, 60, 90, 232, (2448, 2048)),
    "walnuts": (432, 48, 60, 90, 228, (2448, 2048)),
}


def _scene(key: str) -> str:
    """The scene that a picture shows: its number within its folder, whatever the light."""
    folder, _, name = key.rpartition("/")
    return f"{folder}/{name.split('_')[0]}"


@register(
    "mvtec_ad2",
    title="MVTec AD 2",
    domain="industrial",
    task="classification and localisation",
    classes=tuple(_COUNTS),
    expected={
        name: Counts(train=train, validation=validation, normal=normal, anomalous=anomalous)
        for name, (train, validation, normal, anomalous, *_) in _COUNTS.items()
    },
    held_back={split: {name: row[4] for name, row in _COUNTS.items()} for split in _PRIVATE},
    submitted=_PRIVATE,
    sizes={name: size for name, (*_, size) in _COUNTS.items()},
    auxiliary_split=_PUBLIC,
    evaluation_splits=(_PUBLIC, *_PRIVATE),
    split_notes=dict.fromkeys(_PRIVATE, "labels are held back: MVTec's server alone measures this split"),
    unit_of=_scene,
    licence="CC BY-NC-SA 4.0 (non-commercial)",
    source="https://www.mvtec.com/company/research/datasets/mvtec-ad-2",
    citation="L. Heckler-Kram, J.-H. Neudeck, U. Scheler, R. König, C. Steger: The MVTec AD 2 Dataset: Advanced "
    "Scenarios for Unsupervised Anomaly Detection. arXiv:2503.21622, 2025",
    how_to_get="Download mvtec_ad_2.tar.gz (30 GB), or single objects, from the source page and unpack it to "
    "data/mvtec_ad2",
    folders=("mvtec_ad_2", "MVTec_AD_2", "MVTecAD2", "mvtec2"),
    marks=tuple(f"{name}/{split}" for name in _COUNTS for split in (_PUBLIC, *_PRIVATE)),
    layout="""\
<class>/train/good/NNN_regular.png
<class>/validation/good/NNN_regular.png
<class>/test_public/{good,bad}/NNN_<light>.png
<class>/test_public/ground_truth/bad/NNN_<light>_mask.png
<class>/test_private/NNN_regular.png            no labels
<class>/test_private_mixed/NNN_mixed.png        no labels, the same scenes under other lights""",
    quirks=(
        "test_public is evaluated; data.split=test_private and test_private_mixed are scored without labels, so that "
        "all figures are n/a. submission=DIR writes the archive for MVTec's server (docs/mvtec_ad2.md).",
        "The authors measure AUPRO to an FPR of 0.05 and SegF1 at a threshold of one's own, mean + 3 sigma of the "
        "validation images being their example, at the full size of the pictures: that is benchmark=mvtec2.",
        "Pictures of one scene differ in the light alone (regular, underexposed, overexposed, shift_1 to shift_4): "
        "intervals draw them together.",
        "Methods train on test_public when this is auxiliary data: it is the only split with masks.",
        "sheet_metal, vial and wallplugs are stored as grey images. Some tables add train and validation together.",
        "Copies call the split of validation images validate, val or valid too.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index all splits that are there."""
    folders = class_folders(root, _COUNTS)
    for name in select(folders, classes, where=root):
        place = class_place(root, folders[name], {**_SPLITS, **dict.fromkeys(_PRIVATE, "")})
        yield from guarded(
            name,
            index_class(root, place, dataset="mvtec_ad2", class_name=name, splits=_SPLITS, truth_within=(_PUBLIC,)),
        )
        yield from _private(root, place, name)


def _private(root: Path, place: str, name: str) -> Iterator[Sample]:
    """The images of a class whose labels are held back."""
    for split in _PRIVATE:
        folder = named(listing(root / place).folders, split, where=root / place)
        if folder is None:
            continue
        for image in listing(root / place / folder).images:
            yield Sample(
                path=root / place / folder / image,
                key=f"{place}/{folder}/{image}",
                class_name=name,
                label=-1,
                mask_path=None,
                split=split,
                defect="unknown",
                dataset="mvtec_ad2",
            )
