"""All metrics there are, and the columns of result rows: a metric with its parameter, as `pixel_aupro@0.05`.

The modules of this package say what they define (see `adbench.metrics.metric`); the order of columns is: those that are
always shown, then others, each by level, then by module.
"""

from __future__ import annotations

import functools
import importlib
import math
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass

from adbench import metrics as package
from adbench.errors import UserError, unknown
from adbench.metrics.metric import LEVELS, Metric, column_name


@dataclass(frozen=True, slots=True)
class Column:
    """A metric with its parameter: a number, the name of a rule for it, or None where the metric has none."""

    metric: Metric
    parameter: float | str | None = None

    @property
    def key(self) -> str:
        """The key of result rows."""
        return self._named(self.metric.name)

    @property
    def title(self) -> str:
        """The header of tables."""
        return self._named(self.metric.title)

    def _named(self, name: str) -> str:
        default = None if self.metric.parameter is None else self.metric.parameter.default
        return name if self.parameter is None or self.parameter == default else column_name(name, self.parameter)

    @property
    def value(self) -> float:
        """The parameter as a number; NaN where it is a rule, or there is none."""
        return self.parameter if isinstance(self.parameter, float) else math.nan


@functools.cache
def all_metrics() -> dict[str, Metric]:
    """Every metric by its name, in the order of tables."""
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    metrics = [
        metric
        for name in modules
        for metric in getattr(importlib.import_module(f"{package.__name__}.{name}"), "DEFINITIONS", ())
    ]
    metrics.sort(key=lambda metric: (not metric.shown, LEVELS.index(metric.level)))
    return {metric.name: metric for metric in metrics}


def column(key: str, where: str) -> Column:
    """The column called `key`. Raises UserError for an unknown metric, a missing or unsuitable parameter."""
    name, mark, text = key.partition("@")
    metric = all_metrics().get(name)
    if metric is None:
        raise unknown("metric", name, list(all_metrics()), where=where)
    wanted = metric.parameter
    if wanted is None:
        if mark:
            raise UserError(f"{name} takes no parameter, and {key} gives one", where=where, hint=f"write {name}")
        return Column(metric)
    if text in wanted.rules:
        return Column(metric, text)
    if not mark and wanted.default is not None:
        return Column(metric, wanted.default)
    choices = " or ".join([f"a number {wanted.range.in_words(0.5) or 'of any size'}", *wanted.rules])
    hint = f"write {name}@X, X being the {wanted.what}: {choices}"
    try:
        value = float(text) + 0.0  # no -0.0
    except ValueError:
        raise UserError(f"the metric {key} names no {wanted.what}", where=where, hint=hint) from None
    if value not in wanted.range or value in (float("inf"), float("-inf")):
        raise UserError(f"the metric {key} has an impossible {wanted.what}", where=where, hint=hint)
    return Column(metric, value)


@functools.lru_cache(maxsize=4096)
def find(key: str) -> Column | None:
    """The column called exactly `key`; None where there is none."""
    try:
        matched = column(key, "")
    except UserError:
        return None
    return matched if matched.key == key else None


def is_metric(key: str) -> bool:
    """Whether `key` is a column of shares: numbers in [0, 1] that are averaged, NaN where undefined."""
    matched = find(key)
    return matched is not None and matched.metric.unit == "share"


def is_threshold(key: str) -> bool:
    """Whether `key` is a column of thresholds: any numbers, of single classes."""
    matched = find(key)
    return matched is not None and matched.metric.unit == "score"


def title(key: str) -> str:
    """The header of a metric's column."""
    matched = find(key)
    return key if matched is None else matched.title


def in_order(keys: Iterable[str]) -> list[str]:
    """Those of `keys` that are columns of shares, each once, in the order of tables."""
    names = list(all_metrics())
    columns = [matched for key in dict.fromkeys(keys) if is_metric(key) and (matched := find(key))]

    def place(column: Column) -> tuple[int, bool, bool, float | str]:
        alone = column.key == column.metric.name
        return names.index(column.metric.name), not alone, isinstance(column.parameter, str), column.parameter or 0.0

    return [column.key for column in sorted(columns, key=place)]


def shown() -> list[str]:
    """The columns of every table of industrial data."""
    return [metric.name for metric in all_metrics().values() if metric.shown]
