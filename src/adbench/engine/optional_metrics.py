"""Metrics of one class that modules of `metrics` bring along: of images at the end, of pixels as they stream by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from adbench.data.defects import DefectMask
from adbench.metrics import ImageMetrics
from adbench.metrics.inputs import Maps, Masks
from adbench.metrics.metric import Level
from adbench.metrics.objects import by_object
from adbench.metrics.registry import Column
from adbench.metrics.spro import Channel, Saturation

Thresholds = Mapping[tuple[Level, str], float]
"""Score thresholds by level and the rule that they come by; NaN where a class gives none."""


class OptionalMetrics:
    """Accumulators of those of `columns` that bring a function or an accumulator; shards merge.

    thresholds      what stands for the rules among the columns' parameters
    probabilities   whether image scores claim to be probabilities of an anomaly
    memory_limit    bytes that the accumulators may keep in memory, all together
    """

    def __init__(
        self, columns: Sequence[Column], thresholds: Thresholds, *, probabilities: bool, memory_limit: int
    ) -> None:
        self._of_images = [column for column in columns if column.metric.of_images is not None]
        self._of_pixels = [column for column in columns if column.metric.of_pixels is not None]
        self._probabilities, self.thresholds = probabilities, dict(thresholds)
        makers = {self._shared(column): column.metric.of_pixels for column in self._of_pixels}
        self._of_defects = [column for column in columns if column.metric.of_defects is not None]
        by_defects = {_source(column.metric.of_defects): column.metric.of_defects for column in self._of_defects}
        limit = memory_limit // max(1, len(makers) + len(by_defects))
        numbers = {self._shared(column): self._number(column) for column in self._of_pixels}
        self._accumulators = {key: make(numbers[key], limit) for key, make in makers.items() if make is not None}
        self._defects = {key: make(limit) for key, make in by_defects.items() if make is not None}
        self._n_unsaturated = 0

    def update(self, maps: Maps, masks: Masks) -> None:
        """Take in maps (B, H, W) and masks (B, H, W), or lists of (H, W)."""
        for accumulator in self._accumulators.values():
            accumulator.update(maps, masks)

    def update_defects(self, maps: Maps, defects: Sequence[Sequence[DefectMask]]) -> None:
        """Take in maps, a list of (H, W) at the size of the images, and the defects of each image."""
        if not self._defects:
            return
        unknown = [defect for image in defects for defect in image if defect.saturation is None]
        self._n_unsaturated += len(unknown)
        if not unknown:
            channels = [
                [Channel(defect.mask, Saturation(*defect.saturation)) for defect in image if defect.saturation]
                for image in defects
            ]
            for accumulator in self._defects.values():
                accumulator.update(maps, channels)

    def merge(self, other: OptionalMetrics) -> None:
        """Add another shard of the same class; `other` stays as it is. Thresholds come from one that has them."""
        defined = {rule: value for rule, value in self.thresholds.items() if not math.isnan(value)}
        self.thresholds = {**other.thresholds, **defined}
        for key, accumulator in self._accumulators.items():
            accumulator.merge(other._accumulators[key])
        for source, by_defects in self._defects.items():
            by_defects.merge(other._defects[source])
        self._n_unsaturated += other._n_unsaturated

    def of_images(self, images: ImageMetrics, objects: Sequence[str] | None) -> tuple[dict[str, float], list[str]]:
        """Values by column, from the scores and labels that `images` holds, and notes.

        objects  what each of them shows, where several show the same
        """
        values, notes = {}, []
        of_images = images.content()
        of_objects = None if objects is None else by_object(*of_images, objects)
        for column in self._of_images:
            parameter = self._number(column)
            metric, given = column.metric, () if column.metric.parameter is None else (parameter,)
            if metric.probabilities and not self._probabilities:
                values[column.key] = math.nan
                notes.append(f"{column.key} is undefined: the scores do not claim to be probabilities")
                continue
            measured = of_objects if metric.by_object else of_images
            if measured is None:
                values[column.key] = math.nan
                notes.append(f"{column.key} is undefined: nothing tells which images show the same object")
                continue
            values[column.key] = metric.of_images(*measured, *given) if metric.of_images is not None else math.nan
            if isinstance(column.parameter, str) and parameter is not None and math.isnan(parameter):
                notes.append(f"{column.key} is undefined: no validation images, so no threshold of them")
            elif len(measured[0]) < metric.least_images:
                notes.append(
                    f"{column.key} of {len(measured[0])} images is biased upwards (fewer than {metric.least_images})"
                )
        return values, notes

    def of_pixels(self) -> tuple[dict[str, float], list[str]]:
        """Values by column, and notes."""
        computed = {key: accumulator.compute() for key, accumulator in self._accumulators.items()}
        values = {column.key: computed[self._shared(column)][column.metric.name] for column in self._of_pixels}
        notes = [note for accumulator in self._accumulators.values() for note in accumulator.notes()]
        for column in self._of_defects:
            accumulator = self._defects[_source(column.metric.of_defects)]
            limit = None if column.parameter is None else column.value
            values[column.key] = math.nan if self._n_unsaturated else accumulator.compute(limit)[column.metric.name]
        if self._n_unsaturated and self._of_defects:
            names = ", ".join(column.key for column in self._of_defects)
            notes.append(f"{names} is undefined: of {self._n_unsaturated} masks no saturation is known")
        return values, notes

    def _shared(self, column: Column) -> tuple[str, float | str | None]:
        """What columns that share an accumulator have in common."""
        return _source(column.metric.of_pixels), column.parameter

    def _number(self, column: Column) -> float | None:
        """The column's parameter as a number; None where it has none."""
        if isinstance(column.parameter, str):
            return self.thresholds.get((column.metric.level, column.parameter), math.nan)
        return column.parameter


def _source(make: Any) -> str:
    """The place of a function: the same for columns that share it."""
    return f"{make.__module__}.{make.__qualname__}"
