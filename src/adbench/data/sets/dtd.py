"""DTD-Synthetic: textures of the Describable Textures Dataset with rendered defects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.mvtec_layout import index_classes
from adbench.data.survey import Entry

_CLASSES = (
    "Blotchy_099",
    "Fibrous_183",
    "Marbled_078",
    "Matted_069",
    "Mesh_114",
    "Perforated_037",
    "Stratified_154",
    "Woven_001",
    "Woven_068",
    "Woven_104",
    "Woven_125",
    "Woven_127",
)


@register(
    "dtd",
    title="DTD-Synthetic",
    domain="industrial",
    task="classification and localisation",
    classes=_CLASSES,
    licence="none stated; for research, see the source page",
    source="https://drive.google.com/drive/folders/10OyPzvI3H6llCZBxKxFlKWt1Pw1tkMK1",
    citation="T. Aota, L. T. T. Tong, T. Okatani: Zero-shot versus Many-shot: Unsupervised Texture Anomaly Detection. "
    "WACV 2023",
    how_to_get="Download the folder of the source page and unpack it to data/dtd",
    folders=("DTD-Synthetic", "DTD"),
    marks=tuple(f"{name}/test" for name in _CLASSES),
    layout="""\
<class>/train/good/IMAGE
<class>/test/good/IMAGE
<class>/test/<kind>/IMAGE
<class>/ground_truth/<kind>/MASK""",
    quirks=(
        "The layout is that of MVTec AD; masks are paired with images by their stems.",
        "The class names enter the prompts with their numbers (Woven_127), as in AdaCLIP.",
        "Public lists of data sets count 1200 training, 357 normal and 947 anomalous test images of all classes "
        "together. Numbers per class could not be found, so they are not checked.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the raw layout; folders that are not classes of the set are left alone."""
    return index_classes(root, classes, names=_CLASSES, dataset="dtd")
