"""What is kept of a road data set while its images stream by: the same calls as `ClassAccumulator`."""

from __future__ import annotations

import math
from typing import Any

from adbench.data.contents import ContentTally
from adbench.data.sample import Batch
from adbench.engine.accumulators import as_array, image_scores, located
from adbench.engine.image_size import resized, sees_all
from adbench.engine.optional_metrics import OptionalMetrics
from adbench.engine.settings import EvalSettings, MetricSet
from adbench.errors import UserError
from adbench.methods.base import Method, Prediction
from adbench.metrics import ROAD_METRICS, ImageMetrics, RoadMetrics, registry


class RoadAccumulator:
    """Totals of a road data set, or of a shard of it.

    Maps of another size than the labels are resized to them, bilinearly; labels never are. An image counts as anomalous
    where its label map says so; where labels are held back, that number is None and metrics are NaN.
    """

    def __init__(self, settings: EvalSettings, metric_set: MetricSet, *, probabilities: bool = False) -> None:
        self.optional = OptionalMetrics(
            [column for column in settings.columns() if column.metric.level == "image"],
            {},
            probabilities=probabilities,
            memory_limit=settings.memory_limit_mib << 20,
        )
        self.image_metrics = ImageMetrics()
        self.road_metrics = RoadMetrics(
            protocol="smiyc" if settings.protocol == "smiyc" else "exact",
            min_pred=metric_set.min_pred,
            min_gt=metric_set.min_gt,
            memory_limit=settings.memory_limit_mib << 20,
        )
        self.contents = ContentTally()
        self.images: list[dict[str, Any]] = []
        self.n_images = self.n_anomalous = self.n_unknown = 0
        self.seconds = 0.0
        self.has_scores = False

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Take in the prediction of a batch. Raises UserError naming the images if a value is NaN or misshapen."""
        if prediction.maps is None:
            raise UserError(
                "the method gives no anomaly maps, and road data are measured by their pixels",
                where=batch.dataset,
                hint="choose a method that localises",
            )
        labels = batch.labels.cpu().numpy()
        known = labels >= 0
        with located(batch):
            if prediction.scores is not None and known.any():
                self.image_metrics.update(as_array(prediction.scores)[known], labels[known])
                self.has_scores = True
            if batch.truth is not None:
                maps = [resized(map_, mask.shape) for map_, mask in zip(prediction.maps, batch.truth, strict=True)]
                self.road_metrics.update([as_array(map_) for map_ in maps], list(batch.truth.cpu().numpy()))
        self.images += image_scores(prediction, batch)
        self.n_images += len(batch)
        self.n_anomalous += int((labels == 1).sum())
        self.n_unknown += int((~known).sum())
        for key, contents in zip(batch.paths, batch.contents or (), strict=False):
            self.contents.add(key, contents)

    def merge(self, other: RoadAccumulator) -> RoadAccumulator:
        """Add another shard of the same data; `other` stays as it is."""
        self.image_metrics.merge(other.image_metrics)
        self.road_metrics.merge(other.road_metrics)
        self.contents.merge(other.contents)
        self.images += other.images
        self.n_images += other.n_images
        self.n_anomalous += other.n_anomalous
        self.n_unknown += other.n_unknown
        self.seconds += other.seconds
        self.has_scores |= other.has_scores
        return self

    def result(self) -> dict[str, Any]:
        """What `rows.build_rows` takes: metrics, counts, seconds, notes."""
        metrics: dict[str, float] = {}
        notes = self.contents.notes()
        if self.has_scores:
            values, remarks = self.optional.of_images(self.image_metrics)
            metrics |= {**self.image_metrics.compute(thresholds=True), **values}
            notes += remarks
        if self.n_unknown == self.n_images:
            metrics |= dict.fromkeys(ROAD_METRICS, math.nan)
        else:
            metrics |= self.road_metrics.compute()
        if self.n_unknown:
            notes.append(f"the labels of {self.n_unknown} of {self.n_images} images are held back")
        return {
            "metrics": metrics,
            "n_images": self.n_images,
            "n_anomalous": None if self.n_unknown else self.n_anomalous,
            "seconds": self.seconds,
            "notes": notes,
            "images": sorted(self.images, key=lambda image: str(image["path"])),
        }


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
