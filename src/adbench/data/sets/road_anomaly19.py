"""RoadAnomaly (2019): pictures from the web with unusual things on or beside the road."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts
from adbench.data.road_layout import ROAD, register_road, road_sample
from adbench.data.sample import Sample
from adbench.data.tree import listing, select
from adbench.errors import UserError
from adbench.typed import check_value

_LIST = "frame_list.json"
_IDS = {0: 0, 1: 1, 2: 1, 255: 255}


@register_road(
    "road_anomaly19",
    title="RoadAnomaly (2019)",
    expected={ROAD: Counts(mapped=60)},
    licence="pictures from the web under their own licences, for research; see the list of credits in the archive",
    source="https://www.epfl.ch/labs/cvlab/data/road-anomaly/",
    citation="K. Lis, K. Nakka, P. Fua, M. Salzmann: Detecting the Unexpected via Image Resynthesis. ICCV 2019",
    how_to_get="Get the archive from the source page and unpack it to data/road_anomaly19",
    folders=("RoadAnomaly_jpg", "RoadAnomaly", "road_anomaly"),
    marks=("frames",),
    layout="""\
frames/<name>.jpg                           below RoadAnomaly_jpg/, or directly
frames/<name>.labels/labels_semantic.png    0 normal, 2 (or 1) anomalous, 255 unknown
frame_list.json                             names of the pictures; without it all of frames/ are taken""",
    quirks=(
        "Labels store 2 for anomalies; 1 counts as one too.",
        "SMIYC's RoadAnomaly21 extends this set: results on the two are not independent.",
        "Pictures may differ in size. Components: sizes of SMIYC's AnomalyTrack (500 and 100 pixels), our choice.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index the pictures of the list, else of the folder."""
    for _ in select([ROAD], classes, where=root):
        for image in _images(root):
            path = root / "frames" / image
            labels = path.parent / f"{path.stem}.labels" / "labels_semantic.png"
            yield road_sample(path, f"frames/{image}", labels, dataset="road_anomaly19", split="test", ids=_IDS)


def _images(root: Path) -> list[str]:
    file = root / _LIST
    if not file.is_file():
        return list(listing(root / "frames").images)
    try:
        names = check_value(list[str], json.loads(file.read_text(encoding="utf-8")), str(file))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"the list of pictures cannot be read: {error}", where=str(file), hint="get the archive again"
        ) from error
    return sorted(name if Path(name).suffix else f"{name}.jpg" for name in names)
