"""LAG: fundus images with and without suspected glaucoma."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.sample import Sample
from adbench.data.sides import index_sides
from adbench.data.splits import FEW_SHOT, split_for_few_shots
from adbench.data.tree import at, has, listing

_NORMAL, _ANOMALOUS = "non_glaucoma", "suspicious_glaucoma"


@register(
    "lag",
    title="LAG: Large-scale Attention based Glaucoma, part 1",
    domain="medical",
    task="classification",
    classes=("LAG",),
    expected={"LAG": Counts(normal=3143, anomalous=1711)},
    licence="academic use only, no redistribution; given on request",
    source="https://github.com/smilell/AG-CNN",
    citation="L. Li, M. Xu, X. Wang, L. Jiang, H. Liu: Attention Based Glaucoma Detection: A Large-scale Database and "
    "CNN Model. CVPR 2019",
    how_to_get="Ask the authors for the password (source page) and unpack the archive to data/lag",
    folders=("LAG_database_part_1", "LAG"),
    marks=(_ANOMALOUS,),
    layout="non_glaucoma/[image/]NAME.jpg\nsuspicious_glaucoma/[image/]NAME.jpg",
    quirks=(
        "There are no masks: only image metrics are defined. The folders attention_map and label are not read.",
        FEW_SHOT.format(order="the images sorted by name"),
        "The class is called LAG in prompts, as in FAPrompt. FAPrompt's own selection of images is not known.",
        "The first part alone is given to the public: 4854 of the 11,760 images.",
    ),
)
def index(root: Path, classes: Sequence[str] | None, *, few_shot_split: bool = False) -> list[Sample]:
    """Index the two folders."""
    normal, anomalous = (_images(root, side) for side in (_NORMAL, _ANOMALOUS))
    samples = index_sides(
        root, normal=normal, anomalous=anomalous, dataset="lag", class_name="LAG", defect="suspected_glaucoma"
    )
    return split_for_few_shots(samples) if few_shot_split else list(samples)


def _images(root: Path, side: str) -> list[str]:
    folder = at(root, f"{side}/image") if has(root, f"{side}/image") else at(root, side)
    return [f"{folder}/{name}" for name in listing(root / folder).images]
