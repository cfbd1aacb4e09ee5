"""The pixel columns of classes, computed again from the maps and masks that their run has kept (`eval.maps`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adbench.data import catalogue
from adbench.engine.accumulators import as_array
from adbench.engine.image_size import resized
from adbench.engine.kept_maps import KeptMap, maps_files, read_maps
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import MetricsMode, Row
from adbench.errors import UserError
from adbench.metrics import PixelMetrics, RoadMetrics
from adbench.metrics.registry import column, in_order
from adbench.metrics.road_pixels import RoadProtocol
from adbench.report.recomputation import Place, is_class, optional_metrics, place_of
from adbench.report.scores import Score, key_of


@dataclass(slots=True)
class KeptFigures:
    """What kept maps tell: columns of classes and draws, why others are not told, maps that are not those measured."""

    columns: dict[Place, dict[str, float]] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def pixel_columns(run: RunFolder, rows: Sequence[Row], scores: Sequence[Score], mode: MetricsMode) -> KeptFigures:
    """Measure the kept maps of all classes of `rows` again; `mode`: how the run has measured its pixels."""
    figures = KeptFigures()
    tops = {key_of(score): score["map_max"] for score in scores}
    classes = [row for row in rows if is_class(row)]
    for dataset in dict.fromkeys(row["dataset"] for row in classes):
        of_set = [row for row in classes if row["dataset"] == dataset]
        files = maps_files(run, dataset, [row["class_name"] for row in of_set])
        for name, file in files.items():
            draws = {place_of(row): row for row in of_set if row["class_name"] == name}
            if not file.is_file():
                figures.lacking.append(f"{dataset} {name}: no maps were kept")
                continue
            try:
                for (shots, seed), maps in groupby(_exact(file), key=lambda kept: (kept.shots, kept.support_seed)):
                    place = (dataset, name, shots, seed)
                    if place in draws:
                        figures.columns[place] = _measured(
                            draws[place], _watched(maps, place, tops, figures.faults), mode
                        )
            except UserError as error:
                figures.lacking.append(f"{dataset} {name}: {error}")
    return figures


def _exact(file: Path) -> Iterator[KeptMap]:
    """The maps of a file. Raises UserError for those that were rounded when they were kept."""
    for kept in read_maps(file):
        if kept.map.dtype == np.float16:
            raise UserError("maps were kept as float16, which is not what was measured", where=str(file))
        yield kept


def _watched(
    maps: Iterable[KeptMap], place: Place, tops: dict[Place, float | None], faults: list[str]
) -> Iterator[KeptMap]:
    """The maps; a fault for each whose highest pixel is not that of scores.csv."""
    dataset, name, shots, seed = place
    for kept in maps:
        told, top = tops.get((dataset, name, kept.path, shots, seed)), float(kept.map.max())
        if told != top:
            faults.append(f"{dataset} {name} {kept.path}: the highest pixel of its map is {top}, {told} in scores.csv")
        yield kept


def _measured(row: Row, maps: Iterable[KeptMap], mode: MetricsMode) -> dict[str, float]:
    """The pixel columns of a class and draw, as `accumulators` measure them; none where there are no masks."""
    if "pixel_fpr95" in row:
        min_pred, min_gt = catalogue.get(row["dataset"]).component_sizes
        protocol: RoadProtocol = "smiyc" if row["protocol"] == "smiyc" else "exact"
        road, n_masks = RoadMetrics(protocol=protocol, min_pred=min_pred, min_gt=min_gt), 0
        for kept in maps:
            if kept.mask is not None:
                road.update([_at_size(kept.map, kept.mask.shape)], [kept.mask])
                n_masks += 1
        return road.compute() if n_masks else {}
    limits = [column(key, "results.json").value for key in in_order(row) if key.startswith("pixel_aupro@")]
    pixels = PixelMetrics(further_aupro_limits=limits, aupro200="pixel_aupro200" in row, mode=mode)
    optional, n_masks = optional_metrics(row), 0
    for kept in maps:
        if kept.mask is not None:
            measured = [_at_size(kept.map, kept.mask.shape)]
            pixels.update(measured, [kept.mask])
            optional.update(measured, [kept.mask])
            n_masks += 1
        if kept.defects is not None and kept.size is not None:
            optional.update_defects([_at_size(kept.map, kept.size)], [kept.defects])
    return {**pixels.compute(thresholds=True), **optional.of_pixels()[0]} if n_masks else {}


def _at_size(map_: NDArray[np.floating[Any]], size: Sequence[int]) -> NDArray[np.floating[Any]]:
    """A map (H, W) at the size (height, width) of what it is measured by."""
    return as_array(resized(torch.from_numpy(map_), size))
