"""What a module of `adbench.metrics` says of the metrics it defines: a `Metric` each, in its tuple DEFINITIONS.

Result rows, tables, reports, settings and metrics.md follow from it (see `adbench.metrics.registry`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from adbench.metrics.inputs import Maps, Masks
from adbench.typed import Range

Level = Literal["image", "pixel", "component"]
LEVELS: tuple[Level, ...] = ("image", "pixel", "component")
VALIDATION_RULE = "val3sigma"
"""A rule for thresholds: mean + 3 standard deviations of the scores of the class's validation images, all normal."""


def column_name(name: str, parameter: float | str) -> str:
    """The name of a column with a parameter: name@0.05, name@1, name@RULE."""
    return f"{name}@{parameter if isinstance(parameter, str) else repr(float(parameter)).removesuffix('.0')}"


class PixelAccumulator(Protocol):
    """What measures the pixels of a class, batch by batch: picklable, mergeable in any order."""

    def update(self, maps: Maps, masks: Masks = None) -> Any:
        """Add maps (B, H, W) and masks (B, H, W), or lists of (H, W); a missing mask means a normal image."""

    def merge(self, other: Any) -> Any:
        """Add what another of the same settings holds."""

    def compute(self) -> dict[str, float]:
        """Values by the metrics' names, NaN where undefined."""

    def notes(self) -> list[str]:
        """What a reader of the values must know: why one is undefined, on what it rests."""


class DefectAccumulator(Protocol):
    """What measures the defects of a class one by one, image by image: picklable, mergeable in any order."""

    def update(self, maps: Maps, channels: Any = None) -> Any:
        """Add maps and, of each image, its defects (`spro.Channel`) at the map's size."""

    def merge(self, other: Any) -> Any:
        """Add what another of the same settings holds."""

    def compute(self, limit: float | None = None) -> dict[str, float]:
        """Values by the metrics' names for this parameter, NaN where undefined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """What stands behind the "@" of a column's name: a number in `range`, or a rule by which the number comes.

    default  the value of the column that is called as the metric alone; None: there is no such column
    """

    what: str
    range: Range
    default: float | None = None
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric.

    name, title      key of result rows and header of tables; with a parameter P `name@P` and "title@P"
    level            what is counted
    formula, source  for metrics.md, one line each
    shown            a column of every table of industrial data
    built_in         `PixelMetrics` and `ImageMetrics` compute it themselves
    asked_by         how to get it where eval.metrics does not take it, or takes it too
    lower_is_better  of two values
    unit             "share": in [0, 1], averaged over classes. "score": a threshold, of single classes
    parameter        None: it has none
    of_images        value from scores (N,), labels (N,) and, where there is one, the parameter
    by_object        `of_images` is given objects that several images show (see `metrics.objects`); undefined where
                     nothing tells which images show the same one
    of_pixels        accumulator from the parameter (None: it has none) and its share of the memory limit in bytes.
                     Metrics with the same function and parameter share an accumulator
    of_defects       accumulator of maps and of the masks of single defects with their saturation, both at the size of
                     the images, from its share of the memory limit in bytes; it computes values for any parameter
    probabilities    defined only for image scores that claim to be probabilities of an anomaly
    every_score      not to be had in constant memory
    least_images     with fewer images the value is biased, and a note says so
    """

    name: str
    title: str
    level: Level
    formula: str
    source: str = ""
    shown: bool = False
    built_in: bool = False
    asked_by: str | None = None
    lower_is_better: bool = False
    unit: Literal["share", "score"] = "share"
    parameter: Parameter | None = None
    of_images: Callable[..., float] | None = None
    of_pixels: Callable[[float | None, int], PixelAccumulator] | None = None
    of_defects: Callable[[int], DefectAccumulator] | None = None
    by_object: bool = False
    probabilities: bool = False
    every_score: bool = False
    least_images: int = 0

    @property
    def is_choice(self) -> bool:
        """Whether eval.metrics takes it."""
        return self.built_in or any(by is not None for by in (self.of_images, self.of_pixels, self.of_defects))
