"""MVTec AD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.mvtec_layout import index_classes
from adbench.data.survey import Entry

# class: training images, normal and anomalous test images, sides in pixels (table of the data set's paper).
_COUNTS = {
    "bottle": (209, 20, 63, 900),
    "cable": (224, 58, 92, 1024),
    "capsule": (219, 23, 109, 1000),
    "carpet": (280, 28, 89, 1024),
    "grid": (264, 21, 57, 1024),
    "hazelnut": (391, 40, 70, 1024),
    "leather": (245, 32, 92, 1024),
    "metal_nut": (220, 22, 93, 700),
    "pill": (267, 26, 141, 800),
    "screw": (320, 41, 119, 1024),
    "tile": (230, 33, 84, 840),
    "toothbrush": (60, 12, 30, 1024),
    "transistor": (213, 60, 40, 1024),
    "wood": (247, 19, 60, 1024),
    "zipper": (240, 32, 119, 1024),
}


@register(
    "mvtec",
    title="MVTec Anomaly Detection (MVTec AD)",
    domain="industrial",
    task="classification and localisation",
    classes=tuple(_COUNTS),
    expected={name: Counts(train=t, normal=n, anomalous=a) for name, (t, n, a, _) in _COUNTS.items()},
    sizes={name: (side, side) for name, (*_, side) in _COUNTS.items()},
    licence="CC BY-NC-SA 4.0 (non-commercial)",
    source="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    citation="P. Bergmann, M. Fauser, D. Sattlegger, C. Steger: MVTec AD - A Comprehensive Real-World Dataset for "
    "Unsupervised Anomaly Detection. CVPR 2019",
    how_to_get="Download the archive from the source page (a form asks for a name) and unpack it to data/mvtec",
    folders=("mvtec_anomaly_detection", "mvtec_ad"),
    marks=tuple(f"{name}/test" for name in _COUNTS),
    layout="""\
<class>/train/good/NNN.png
<class>/test/good/NNN.png
<class>/test/<kind>/NNN.png
<class>/ground_truth/<kind>/NNN_mask.png""",
    quirks=("Some classes are stored as grey images.", "Any of the 15 classes may be missing from the folder."),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the raw layout; folders that are not classes of the set are left alone."""
    return index_classes(root, classes, names=_COUNTS, dataset="mvtec")
