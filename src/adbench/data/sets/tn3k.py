"""TN3K: thyroid nodules in ultrasound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.paired_folders import NO_NORMAL, arranged_layout, index_pairs
from adbench.data.sample import Sample


@register(
    "tn3k",
    title="TN3K: thyroid nodules, test images",
    domain="medical",
    task="localisation",
    classes=("tn3k",),
    expected={"tn3k": Counts(anomalous=614)},
    licence="for research; see the source page",
    source="https://github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation",
    citation="H. Gong, J. Chen, G. Chen, H. Li, G. Li, F. Chen: Thyroid region prior guided attention for ultrasound "
    "segmentation of thyroid nodules. Computers in Biology and Medicine 155, 2023",
    how_to_get="Follow the data link on the source page and unpack the archive to data/tn3k",
    folders=("TN3K", "Thyroid Dataset", "tn3k"),
    marks=("test-image", "tn3k/test"),
    layout="test-image/NNNN.jpg\ntest-mask/NNNN.jpg\n" + arranged_layout("tn3k"),
    quirks=(
        NO_NORMAL,
        "The folders trainval-image and trainval-mask are left alone, and so are the other sets in the archive.",
        "Masks are JPEG files. Every value above 0 is a defect, as in the papers' code, and so is what compression "
        "leaves around the borders.",
        "AnomalyCLIP's meta.json calls the class thyroid; a file's own name is kept.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index the test images."""
    return index_pairs(root, dataset="tn3k", class_name="tn3k", defect="nodule", pairs=(("test-image", "test-mask"),))
