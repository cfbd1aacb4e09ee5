"""SegmentMeIfYouCan: RoadAnomaly21 and RoadObstacle21. Only their validation splits have public labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts
from adbench.data.road_layout import ROAD, register_road, road_sample
from adbench.data.sample import Sample
from adbench.data.tree import listing, select

_SOURCE = "https://segmentmeifyoucan.com/datasets"
_CITATION = (
    "R. Chan, K. Lis, S. Uhlemeyer et al.: SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation. NeurIPS 2021 "
    "Datasets and Benchmarks"
)
_NOTES = {"val": "validation figures: the labels of SMIYC's test split are held back"}
_HELD_BACK = (
    "Labels of the test split are held back: its pictures can be scored (data.split=test) and looked at, not measured. "
    "Figures on the validation split are marked as such."
)
# Pictures of RoadObstacle21 whose names begin so are no part of the benchmark's validation split.
_LEFT_OUT = ("validation_19", *(f"validation_{number}" for number in range(21, 30)))
_TEST_SCENES = (
    *("curvy-street", "one-way-street", "gravel", "greyasphalt", "motorway", "paving", "darkasphalt", "darkasphalt2"),
)


@register_road(
    "smiyc_ra21",
    title="SegmentMeIfYouCan: RoadAnomaly21",
    expected={ROAD: Counts(mapped=10)},
    component_sizes=(500, 100),
    evaluation_splits=("val", "test"),
    split_notes=_NOTES,
    licence="pictures under their own licences from the web; see the archive",
    source=_SOURCE,
    citation=_CITATION,
    how_to_get="Get dataset_AnomalyTrack.zip from the source page and unpack it to data/smiyc_ra21",
    folders=("dataset_AnomalyTrack", "RoadAnomaly21"),
    marks=("images/*.jpg",),
    layout="""\
images/<fid>.jpg                               below dataset_AnomalyTrack/, or directly
labels_masks/<fid>_labels_semantic.png         0 normal, 1 anomalous, 255 unknown""",
    quirks=(
        "Normal are the 19 classes of Cityscapes, anomalous is anything else of interest, unclear things are unknown.",
        _HELD_BACK,
        "Coloured labels (*_labels_semantic_color.png) are left alone. Pictures differ in size.",
    ),
)
def index_anomalies(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index validation0000 ... as val, everything else as test."""
    return _index(root, classes, "smiyc_ra21", lambda fid: "val" if fid.startswith("validation") else "test")


@register_road(
    "smiyc_ro21",
    title="SegmentMeIfYouCan: RoadObstacle21",
    expected={ROAD: Counts(mapped=30)},
    component_sizes=(50, 10),
    evaluation_splits=("val", "test"),
    split_notes=_NOTES,
    licence="see LICENSE.txt in the archive",
    source=_SOURCE,
    citation=_CITATION,
    how_to_get="Get dataset_ObstacleTrack.zip from the source page and unpack it to data/smiyc_ro21",
    folders=("dataset_ObstacleTrack", "RoadObstacle21"),
    marks=("images/*.webp",),
    layout="""\
images/<fid>.webp                              below dataset_ObstacleTrack/, or directly
labels_masks/<fid>_labels_semantic.png         0 normal, 1 obstacle, 255 unknown""",
    quirks=(
        "Everything off the road is unknown: all figures are about the road alone.",
        "As in the benchmark, pictures named validation_19..., validation_21... to validation_29... are no part of the "
        "validation split; night and snowstorm pictures are no part of either split.",
        _HELD_BACK,
        "Coloured labels (*_labels_semantic_color.png) are left alone.",
    ),
)
def index_obstacles(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index the benchmark's two splits."""
    return _index(root, classes, "smiyc_ro21", _obstacle_split)


def _obstacle_split(fid: str) -> str | None:
    if fid.startswith("validation_"):
        return None if fid.startswith(_LEFT_OUT) else "val"
    return "test" if fid.split("_")[0] in _TEST_SCENES else None


def _index(
    root: Path, classes: Sequence[str] | None, dataset: str, split_of: Callable[[str], str | None]
) -> Iterator[Sample]:
    for _ in select([ROAD], classes, where=root):
        images = listing(root / "images")
        for image in images.images:
            fid = Path(image).stem
            split = split_of(fid)
            if split is None:
                continue
            path, labels = images.path / image, root / "labels_masks" / f"{fid}_labels_semantic.png"
            known = labels if split != "test" or labels.is_file() else None
            yield road_sample(path, f"images/{image}", known, dataset=dataset, split=split)
