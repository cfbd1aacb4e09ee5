"""Lost and Found: small obstacles on the road, with its own coarse labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts
from adbench.data.road_layout import ROAD, files_below, register_road, road_sample
from adbench.data.sample import Sample
from adbench.data.tree import select

_IDS = {0: 255, 1: 0} | dict.fromkeys(range(2, 201), 1)
_IMAGE, _LABEL = "_leftImg8bit.png", "_gtCoarse_labelIds.png"
# Frames with obstacles that models trained on Cityscapes know: children and bicycles.
_KNOWN = (
    "15_Rechbergstr_Deckenpfronn",
    "01_Hanns_Klemm_Str_45_000006",
    "01_Hanns_Klemm_Str_45_000007",
    "10_Schlossberg_9_000004",
)


@register_road(
    "lostandfound",
    title="Lost and Found",
    task="pixel-wise anomalies (obstacles on the road)",
    expected={ROAD: Counts(train=1036, mapped=1203)},
    component_sizes=(50, 10),
    evaluation_splits=("test", "train"),
    licence="own terms: non-commercial research",
    source="http://wwwlehre.dhbw-stuttgart.de/~sgehrig/lostAndFoundDataset/index.html",
    citation="P. Pinggera, S. Ramos, S. Gehrig, U. Franke, C. Rother, R. Mester: Lost and Found: Detecting Small Road "
    "Hazards for Self-Driving Vehicles. IROS 2016",
    how_to_get="Get leftImg8bit.zip and gtCoarse.zip from the source page and unpack both to data/lostandfound",
    folders=("LostAndFound", "lost_and_found"),
    marks=("gtCoarse/test", "gtCoarse/train"),
    layout="""\
leftImg8bit/{train,test}/<scene>/<frame>_leftImg8bit.png
gtCoarse/{train,test}/<scene>/<frame>_gtCoarse_labelIds.png    1 free road, 2 to 200 obstacles, 0 anything else""",
    quirks=(
        "Everything but road and obstacles is unknown. Some frames have no label at all (17 of the test split): "
        "nothing of them is measured, so they need not be left out, but they count as images.",
        "data.known=false leaves out the test frames with children and bicycles, as SMIYC's benchmark does.",
        "Its PNG files carry a gamma value, which must not be applied: pixels are taken as they are stored.",
        "Components: sizes of SMIYC's ObstacleTrack (50 and 10 pixels).",
    ),
)
def index(root: Path, classes: Sequence[str] | None, *, known: bool = True) -> Iterator[Sample]:
    """Index both splits; without `known`, the test split loses the frames of things that Cityscapes has classes for."""
    for _ in select([ROAD], classes, where=root):
        for split in ("train", "test"):
            for frame, image in files_below(root / "leftImg8bit" / split, _IMAGE).items():
                if split == "test" and not known and frame.startswith(_KNOWN):
                    continue
                yield road_sample(
                    image,
                    image.relative_to(root).as_posix(),
                    root / "gtCoarse" / split / image.parent.name / (frame + _LABEL),
                    dataset="lostandfound",
                    split=split,
                    defect="obstacle",
                    ids=_IDS,
                )
