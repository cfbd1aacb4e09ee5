"""BTAD (beanTech): three industrial products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.mvtec_layout import index_classes
from adbench.data.survey import Entry

# class: training images, normal and anomalous test images.
_COUNTS = {"01": (400, 21, 49), "02": (399, 30, 200), "03": (1000, 400, 41)}


@register(
    "btad",
    title="beanTech Anomaly Detection (BTAD)",
    domain="industrial",
    task="classification and localisation",
    classes=tuple(_COUNTS),
    expected={name: Counts(train=t, normal=n, anomalous=a) for name, (t, n, a) in _COUNTS.items()},
    licence="none in the archive; for research, see the source page",
    source="https://github.com/pankajmishra000/VT-ADL",
    citation="P. Mishra, R. Verk, D. Fornasier, C. Piciarelli, G. L. Foresti: VT-ADL: A Vision Transformer Network for "
    "Image Anomaly Detection and Localization. ISIE 2021",
    how_to_get="Download https://avires.dimi.uniud.it/papers/btad/btad.zip and unpack it to data/btad",
    folders=("BTech_Dataset_transformed", "BTAD", "btad"),
    marks=tuple(f"{name}/test" for name in _COUNTS),
    layout="""\
{01,02,03}/train/ok/NNNN.{bmp,png}
{01,02,03}/test/{ok,ko}/NNNN.{bmp,png}
{01,02,03}/ground_truth/ko/NNNN.{png,bmp}""",
    quirks=(
        "The folders of normal images are called ok, those of anomalous ones ko.",
        "Images are .bmp in some classes and .png in others, and masks may have another extension than their images: "
        "they are paired by stem.",
        "The class names 01, 02 and 03 enter the prompts, meaningless as they are; so it is in AdaCLIP.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the raw layout; folders that are not classes of the set are left alone."""
    return index_classes(root, classes, names=_COUNTS, dataset="btad", normal="ok")
