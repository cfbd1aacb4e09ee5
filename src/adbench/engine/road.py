"""Which methods and settings road data can be measured with."""

from __future__ import annotations

from adbench.engine.image_size import sees_all
from adbench.engine.settings import EvalSettings, MetricSet
from adbench.errors import UserError
from adbench.methods.base import Method
from adbench.metrics import registry


def check_road(method: Method, metric_set: MetricSet, settings: EvalSettings, where: str) -> None:
    """Raise UserError where data set `where` cannot be measured with this method or these settings."""
    if metric_set.name != "road":
        if settings.protocol == "smiyc":
            hint = "use eval.protocol=exact or official"
            raise UserError(f"protocol smiyc is for road data, not for {where}", where="eval.protocol", hint=hint)
        return
    if settings.protocol == "official":
        hint = "use eval.protocol=exact or smiyc"
        raise UserError(f"protocol official is not for road data, as {where}", where="eval.protocol", hint=hint)
    for column in settings.columns():
        if column.metric.level == "pixel" and column.key not in registry.shown():
            raise UserError(
                f"{column.key} is not for road data, as {where}",
                where="eval",
                hint="leave it out: road data have metrics of their own",
            )
    if settings.metrics_mode == "constant":
        raise UserError(
            f"road data, as {where}, are measured exactly, on disk above eval.memory_limit_mib",
            where="eval.metrics_mode",
            hint="leave out eval.metrics_mode",
        )
    if not sees_all(method):
        raise UserError(
            f"method {method.name} crops its pictures, so its maps do not cover the labels of {where}",
            where="method",
            hint="choose a method that sees the whole picture",
        )
