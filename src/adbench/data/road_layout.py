"""What the road sets have in common: one class, ids of labels, images and label files that belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.sample import Sample
from adbench.data.tree import listing

ROAD = "road"
"""The one class of every road set."""
EVALUATION_IDS = {0: 0, 1: 1, 255: 255}
register_road = partial(
    register, domain="road", task="pixel-wise anomalies", classes=(ROAD,), metric_set="road", supervision="none"
)
"""`register`, for what all road sets to be evaluated on have in common."""


def road_sample(
    path: Path,
    key: str,
    labels: Path | None,
    *,
    dataset: str,
    split: str,
    defect: str = "anomaly",
    ids: Mapping[int, int] = EVALUATION_IDS,
    overlay: Path | None = None,
) -> Sample:
    """A picture with its label map, which alone says whether it holds an anomaly."""
    return Sample(path, key, ROAD, -1, labels, split, defect, dataset, label_ids=ids, overlay_path=overlay)


def files_below(folder: Path, suffix: str) -> dict[str, Path]:
    """Files `<folder>/<any folder>/<id><suffix>` by id, sorted; empty where `folder` does not exist."""
    if not folder.is_dir():
        return {}
    paths = (path / name for path in _inner(folder) for name in listing(path).images if name.endswith(suffix))
    return {path.name.removesuffix(suffix): path for path in paths}


def _inner(folder: Path) -> Iterable[Path]:
    return (folder / name for name in listing(folder).folders)
