"""ISIC: skin lesions with masks, the test images of a challenge's segmentation task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.paired_folders import NO_NORMAL, arranged_layout, index_pairs, present
from adbench.data.sample import Sample
from adbench.errors import UserError

_YEARS = (
    ("ISBI2016_ISIC_Part1_Test_Data", "ISBI2016_ISIC_Part1_Test_GroundTruth"),
    ("ISIC-2017_Test_v2_Data", "ISIC-2017_Test_v2_Part1_GroundTruth"),
    ("ISIC2018_Task1-2_Test_Input", "ISIC2018_Task1_Test_GroundTruth"),
)


@register(
    "isic",
    title="ISIC 2016, test images of part 1 (lesion segmentation)",
    domain="medical",
    task="localisation",
    classes=("isic",),
    expected={"isic": Counts(anomalous=379)},
    licence="CC0 (2016 and 2017), CC BY-NC (2018), as commonly stated; check the source page",
    source="https://challenge.isic-archive.com/data/",
    citation="D. Gutman, N. C. F. Codella, E. Celebi, B. Helba, M. Marchetti, N. Mishra, A. Halpern: Skin Lesion "
    "Analysis toward Melanoma Detection: A Challenge at ISBI 2016. arXiv:1605.01397, 2016",
    how_to_get="Download the test data and the test ground truth of 2016, part 1, from the source page and unpack both "
    "to data/isic",
    folders=("ISIC", "ISIC2016"),
    marks=(*(images for images, _ in _YEARS), "isic/test"),
    layout="ISBI2016_ISIC_Part1_Test_Data/ISIC_NNNNNNN.jpg\n"
    "ISBI2016_ISIC_Part1_Test_GroundTruth/ISIC_NNNNNNN_Segmentation.png\n" + arranged_layout("isic"),
    quirks=(
        NO_NORMAL,
        "AdaCLIP does not say which year it uses; AnomalyCLIP's masks are those of 2016, part 1, and so are ours. The "
        "test folders of 2017 and 2018 (task 1) are read too, if they are the only ones; their numbers of images "
        "differ from the expected ones.",
        "Superpixel pictures beside the images are left alone.",
        "AnomalyCLIP's meta.json calls the class skin; a file's own name is kept.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index one year's folders."""
    years = present(root, _YEARS)
    if len(years) > 1:
        raise UserError(
            f"the test images of {len(years)} challenges are there: {', '.join(images for images, _ in years)}",
            where=str(root),
            hint="give each a folder of its own, and one of them by data.root=DIR",
        )
    return index_pairs(
        root,
        dataset="isic",
        class_name="isic",
        defect="lesion",
        pairs=_YEARS,
        is_image=lambda name: "_superpixels" not in name,
    )
