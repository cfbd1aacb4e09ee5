"""The built-in road scenes: rendered on first use, classes to train on, and obstacles to find."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.masks import pair_masks
from adbench.data.road_layout import EVALUATION_IDS, ROAD
from adbench.data.sample import Sample
from adbench.data.tree import listing, select
from adbench.demo.roads import OBSTACLES, RoadCounts, render_road_demo
from adbench.demo.synthetic.road_scene import CLASSES, IGNORE

_COUNTS = RoadCounts()
_TRAIN_IDS = {**{number: number for number in range(len(CLASSES))}, IGNORE: IGNORE}


@register(
    "road_demo",
    title="Road demo: rendered road scenes with unknown obstacles",
    domain="synthetic",
    task="semantic segmentation (train), pixel-wise anomalies (val, test)",
    classes=(ROAD,),
    class_names=CLASSES,
    expected={ROAD: Counts(train=_COUNTS.train, validation=_COUNTS.val, mapped=_COUNTS.test)},
    metric_set="road",
    component_sizes=(20, 10),
    supervision="segmentation",
    auxiliary_split="train",
    evaluation_splits=("test", "val"),
    split_notes={"val": "validation figures: this split is for choosing settings"},
    licence="Apache-2.0 (rendered by this package)",
    source="adbench.demo.synthetic.road_scene",
    citation="none",
    how_to_get="It renders itself into data/road_demo on first use",
    marks=("train/images",),
    prepare_root=render_road_demo,
    layout="""\
{train,val,test}/images/NNN.png
train/labels/NNN.png        numbers of the classes, 255 unknown
{val,test}/labels/NNN.png   0 normal, 1 obstacle, 255 at the feet of obstacles and on the own bonnet
{val,test}/obstacles.json   kinds of obstacles by picture""",
    quirks=(
        "The train split holds no obstacle. Those of val (barrel, suitcase) do not occur in test (animal, box, "
        "caravan, cone, debris, tyre): settings are chosen on data.split=val.",
        "Known things and obstacles share no texture, so that a picture's parts can be told apart by its looks alone; "
        "the demo CLIP has seen the textures, never the scenes.",
        "Numbers on it say that a pipeline works, nothing about real roads.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index all splits."""
    for name in select([ROAD], classes, where=root):
        for split in ("train", "val", "test"):
            images, labels = listing(root / split / "images"), listing(root / split / "labels")
            pairs = pair_masks(images.images, labels.images, where=labels.path)
            kinds = {} if split == "train" else json.loads((root / split / OBSTACLES).read_text(encoding="utf-8"))
            for image in images.images:
                yield Sample(
                    path=images.path / image,
                    key=f"{split}/images/{image}",
                    class_name=name,
                    label=0 if split == "train" else -1,
                    mask_path=labels.path / pairs[image][0],
                    split=split,
                    defect="+".join(kinds.get(image, ())) or "good",
                    dataset="road_demo",
                    label_ids=_TRAIN_IDS if split == "train" else EVALUATION_IDS,
                )
