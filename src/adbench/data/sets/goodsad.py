"""GoodsAD (PKU): supermarket goods, many products per class."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.mvtec_layout import index_classes
from adbench.data.survey import Entry

# class: training images, normal and defective test images (table of the authors' README).
_COUNTS = {
    "drink_bottle": (733, 356, 425),
    "drink_can": (234, 147, 147),
    "food_bottle": (1014, 243, 361),
    "food_box": (432, 146, 251),
    "food_package": (540, 253, 230),
    "cigarette_box": (183, 183, 246),
}


def _product(key: str) -> str:
    """The product that a picture shows: the first three digits of its name, below its folder."""
    folder, name = posixpath.split(key)
    return f"{folder}/{name[:3]}"


@register(
    "goodsad",
    title="PKU-GoodsAD: supermarket goods",
    domain="industrial",
    task="classification and localisation",
    classes=tuple(_COUNTS),
    expected={name: Counts(train=t, normal=n, anomalous=a) for name, (t, n, a) in _COUNTS.items()},
    sizes=dict.fromkeys(_COUNTS, (3000, 3000)),
    unit_of=_product,
    licence="none stated for the data; see the source page",
    source="https://github.com/jianzhang96/GoodsAD",
    citation="J. Zhang, R. Ding, M. Ban, L. Dai: PKU-GoodsAD: A Supermarket Goods Dataset for Unsupervised Anomaly "
    "Detection and Segmentation. IEEE Robotics and Automation Letters 9(3), 2024",
    how_to_get="Follow the download links on the source page (an archive per class) and unpack them to data/goodsad",
    folders=("GoodsAD", "PKU-GoodsAD"),
    marks=tuple(f"{name}/test" for name in _COUNTS),
    layout="""\
<class>/train/good/NNNNNN.jpg
<class>/test/{good,<kind>}/NNNNNN.jpg
<class>/ground_truth/<kind>/NNNNNN.png          of the image's name, without a suffix""",
    quirks=(
        "Names are three digits of the product and three of the picture. A class holds many products (484 in all): K "
        "support images cannot show all of them. Intervals draw the pictures of a product together.",
        "The names of the kinds of defects are not known here; whatever is not good is one.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the raw layout; folders that are not classes of the set are left alone."""
    return index_classes(root, classes, names=_COUNTS, dataset="goodsad")
