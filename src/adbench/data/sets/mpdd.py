"""MPDD: painted metal parts, photographed in varying positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.mvtec_layout import index_classes
from adbench.data.survey import Entry

# class: training images, normal and anomalous test images.
_COUNTS = {
    "bracket_black": (289, 32, 47),
    "bracket_brown": (185, 26, 51),
    "bracket_white": (110, 30, 30),
    "connector": (128, 30, 14),
    "metal_plate": (54, 26, 71),
    "tubes": (122, 32, 69),
}


@register(
    "mpdd",
    title="Metal Parts Defect Detection (MPDD)",
    domain="industrial",
    task="classification and localisation",
    classes=tuple(_COUNTS),
    expected={name: Counts(train=t, normal=n, anomalous=a) for name, (t, n, a) in _COUNTS.items()},
    licence="CC BY-NC-SA 4.0 (non-commercial), as commonly stated; check the source page",
    source="https://github.com/stepanje/MPDD",
    citation="S. Jezek, M. Jonak, R. Burget, P. Dvorak, M. Skotak: Deep learning-based defect detection of metal "
    "parts: evaluating current methods in complex conditions. ICUMT 2021",
    how_to_get="Follow the download link on the source page and unpack the archive to data/mpdd",
    folders=("MPDD",),
    marks=tuple(f"{name}/test" for name in _COUNTS),
    layout="""\
<class>/train/good/NNN.png
<class>/test/good/NNN.png
<class>/test/<kind>/NNN.png
<class>/ground_truth/<kind>/NNN_mask.png""",
    quirks=("The layout is that of MVTec AD, and AdaCLIP and AnomalyCLIP use it unchanged.",),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the raw layout; folders that are not classes of the set are left alone."""
    return index_classes(root, classes, names=_COUNTS, dataset="mpdd")
