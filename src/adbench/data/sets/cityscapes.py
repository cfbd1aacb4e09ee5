"""Cityscapes: street scenes with label maps, what segmentation methods train on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.road_layout import ROAD, files_below
from adbench.data.sample import Sample
from adbench.data.tree import select

# Class: id in the files. Train ids count in this order; every other id is 255.
_LABEL_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
_TRAIN_IDS = dict.fromkeys(range(256), 255) | {stored: number for number, stored in enumerate(_LABEL_IDS.values())}
_IMAGE, _LABEL = "_leftImg8bit.png", "_gtFine_labelIds.png"


@register(
    "cityscapes",
    title="Cityscapes (fine annotations)",
    domain="road",
    task="semantic segmentation (training data)",
    classes=(ROAD,),
    class_names=tuple(_LABEL_IDS),
    expected={ROAD: Counts(train=2975, normal=500)},
    metric_set="road",
    supervision="segmentation",
    auxiliary_split="train",
    evaluation_splits=(),
    licence="own terms: non-commercial research, no redistribution",
    source="https://www.cityscapes-dataset.com",
    citation="M. Cordts et al.: The Cityscapes Dataset for Semantic Urban Scene Understanding. CVPR 2016",
    how_to_get="Register at the source page, get leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip, and "
    "unpack both to data/cityscapes",
    folders=("Cityscapes", "CityScapes"),
    marks=("leftImg8bit/train", "leftImg8bit/val"),
    layout="""\
leftImg8bit/{train,val,test}/<city>/<city>_<seq>_<frame>_leftImg8bit.png
gtFine/{train,val}/<city>/<city>_<seq>_<frame>_gtFine_labelIds.png""",
    quirks=(
        "Labels are read from *_labelIds.png and turned into the 19 train ids as they are loaded: no preparation.",
        "Ids that are not evaluated are unknown in training, caravan (29) and trailer (30) among them.",
        "It holds no anomalies to be found: it is trained on. The labels of its test split are held back.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index the raw layout; a split without a folder is left out."""
    for name in select([ROAD], classes, where=root):
        for split in ("train", "val", "test"):
            for frame, image in files_below(root / "leftImg8bit" / split, _IMAGE).items():
                folder, labels = root / "gtFine" / split / image.parent.name, None
                if split != "test":  # its label files, where there are any, are dummies
                    labels = folder / (frame + _LABEL)
                yield Sample(
                    path=image,
                    key=image.relative_to(root).as_posix(),
                    class_name=name,
                    label=0,
                    mask_path=labels,
                    split=split,
                    defect="good",
                    dataset="cityscapes",
                    label_ids=_TRAIN_IDS,
                )
