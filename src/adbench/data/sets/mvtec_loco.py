"""MVTec LOCO AD: logical and structural anomalies of five products, their masks one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from adbench.data.catalogue import Counts, register
from adbench.data.mvtec_layout import VALIDATED, class_folders, class_place, index_class
from adbench.data.saturation import with_saturations
from adbench.data.stems import plain
from adbench.data.survey import Entry, Note, guarded
from adbench.data.tree import select

_LOGICAL, _STRUCTURAL = "logical_anomalies", "structural_anomalies"
# class: training, validation, normal test, logical and structural test images; size.
_COUNTS = {
    "breakfast_box": (351, 62, 102, 83, 90, (1600, 1280)),
    "juice_bottle": (335, 54, 94, 142, 94, (800, 1600)),
    "pushpins": (372, 69, 138, 91, 81, (1700, 1000)),
    "screw_bag": (360, 60, 122, 137, 82, (1600, 1100)),
    "splicing_connectors": (354, 59, 119, 108, 85, (1700, 850)),
}
_UNCHECKED = "splicing_connectors"  # sources differ
_FACTS: dict[str, Any] = {
    "domain": "industrial",
    "task": "classification and localisation",
    "classes": tuple(_COUNTS),
    "sizes": {name: size for name, (*_, size) in _COUNTS.items()},
    "licence": "CC BY-NC-SA 4.0 (non-commercial)",
    "source": "https://www.mvtec.com/company/research/datasets/mvtec-loco",
    "citation": "P. Bergmann, K. Batzner, M. Fauser, D. Sattlegger, C. Steger: Beyond Dents and Scratches: Logical "
    "Constraints in Unsupervised Anomaly Detection and Localization. IJCV 130, 2022; doi:10.1007/s11263-022-01578-9",
    "how_to_get": "Download mvtec_loco_anomaly_detection.tar.xz from the source page and unpack it to data/mvtec_loco",
    "folders": ("mvtec_loco", "mvtec_loco_anomaly_detection", "MVTec_LOCO", "loco"),
    "marks": tuple(f"{name}/test" for name in _COUNTS),
    "layout": """\
<class>/train/good/NNN.png
<class>/validation/good/NNN.png
<class>/test/{good,logical_anomalies,structural_anomalies}/NNN.png
<class>/ground_truth/{logical_anomalies,structural_anomalies}/NNN/MMM.png     a file per defect
<class>/defects_config.json                     saturation by the value of a mask's pixels""",
    "part_of": "mvtec_loco",
}
_QUIRKS = (
    "The authors measure image AUROC and AUC-sPRO of logical and of structural anomalies apart, each against the same "
    "good images, and take the mean of the two: that is benchmark=loco. Figures over both kinds together are another "
    "thing, and data=mvtec_loco marks its rows so.",
    "Masks hold one value each, 236 to 255: the key into defects_config.json, which says from which area on the defect "
    "counts as found. For sPRO (eval.metrics=pixel_auspro) they stay apart and have their own size; for everything "
    "else they are joined, every value above 0 being a defect.",
    "Masks of a copy that has one NNN_mask.png per image are joined already: sPRO is not defined with them, and rows "
    "say so.",
    "Of splicing_connectors notes on the paper count 354 training and 59 validation images, measured copies 360 and "
    "60: its numbers are not checked.",
)


def _expected(*kinds: int) -> dict[str, Counts]:
    """Numbers of images with the anomalies of these columns of `_COUNTS`."""
    return {
        name: Counts(train=row[0], validation=row[1], normal=row[2], anomalous=sum(row[kind] for kind in kinds))
        for name, (*row, _) in _COUNTS.items()
        if name != _UNCHECKED
    }


@register(
    "mvtec_loco",
    title="MVTec LOCO AD, logical and structural anomalies together",
    expected=_expected(3, 4),
    quirks=_QUIRKS,
    **_FACTS,
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the whole set."""
    yield Note("logical and structural anomalies together: LOCO's authors measure them apart", in_rows=True)
    yield from _index(root, classes, "mvtec_loco", (_LOGICAL, _STRUCTURAL))


@register(
    "mvtec_loco_logical",
    title="MVTec LOCO AD, logical anomalies",
    expected=_expected(3),
    quirks=_QUIRKS,
    **_FACTS,
)
def index_logical(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index good images and logical anomalies."""
    return _index(root, classes, "mvtec_loco_logical", (_LOGICAL,))


@register(
    "mvtec_loco_structural",
    title="MVTec LOCO AD, structural anomalies",
    expected=_expected(4),
    quirks=_QUIRKS,
    **_FACTS,
)
def index_structural(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index good images and structural anomalies."""
    return _index(root, classes, "mvtec_loco_structural", (_STRUCTURAL,))


def _index(root: Path, classes: Sequence[str] | None, dataset: str, kinds: Collection[str]) -> Iterator[Entry]:
    folders = class_folders(root, _COUNTS)
    for name in select(folders, classes, where=root):
        yield from guarded(name, _class(root, folders[name], dataset, name, kinds))


def _class(root: Path, folder: str, dataset: str, name: str, kinds: Collection[str]) -> Iterator[Entry]:
    place = class_place(root, folder, VALIDATED)
    samples = index_class(root, place, dataset=dataset, class_name=name, splits=VALIDATED)
    wanted = {"good", *map(plain, kinds)}
    yield from with_saturations((sample for sample in samples if plain(sample.defect) in wanted), root / place)
