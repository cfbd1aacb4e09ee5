"""What is kept of a class while its images stream by: metric accumulators and counts, mergeable across processes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adbench.data.contents import ContentTally
from adbench.data.sample import Batch
from adbench.engine.confidence import objects_of
from adbench.engine.image_size import at_image_size, masks_at_image_size, resized
from adbench.engine.optional_metrics import OptionalMetrics, Thresholds
from adbench.engine.settings import EvalSettings, MetricSet
from adbench.errors import UserError
from adbench.methods.base import Prediction
from adbench.metrics import ROAD_METRICS, ImageMetrics, PixelMetrics, RoadMetrics
from adbench.metrics.inputs import Maps, Masks
from adbench.metrics.pro_curve import Point


class ClassAccumulator:
    """Totals of one class, or of a shard of it: `update` per batch, `merge` shards, `result` at the end.

    Of road data (`metric_set`) maps of another size than the label maps are resized to them, bilinearly; labels never
    are. An image counts as anomalous where its label map says so.
    """

    def __init__(
        self,
        settings: EvalSettings,
        metric_set: MetricSet | None = None,
        thresholds: Thresholds | None = None,
        *,
        probabilities: bool = False,
    ) -> None:
        """thresholds: of validation images, where a metric asks for them; probabilities: what scores claim to be."""
        self._columns, self.road_metrics = settings.columns(), None
        if metric_set is not None and metric_set.name == "road":
            self._columns = [column for column in self._columns if column.metric.level == "image"]
            self.road_metrics = RoadMetrics(
                protocol="smiyc" if settings.protocol == "smiyc" else "exact",
                min_pred=metric_set.min_pred,
                min_gt=metric_set.min_gt,
                memory_limit=settings.memory_limit_mib << 20,
            )
        self._image_size = settings.pixel_size == "image"
        self.optional = OptionalMetrics(
            self._columns,
            thresholds or {},
            probabilities=probabilities,
            memory_limit=settings.memory_limit_mib << 20,
        )
        self.image_metrics = ImageMetrics()
        self.pixel_metrics = PixelMetrics(
            further_aupro_limits=[column.value for column in self._columns if column.key.startswith("pixel_aupro@")],
            aupro200=any(column.metric.name == "pixel_aupro200" for column in self._columns),
            mode=settings.metrics_mode,
            memory_limit=settings.memory_limit_mib << 20,
        )
        self.contents = ContentTally()
        self.images: list[dict[str, Any]] = []
        self.dataset = ""
        self.n_images = 0
        self.n_anomalous = self.n_unknown = 0
        self.seconds = 0.0
        self.has_scores = self.has_maps = self.has_masks = False

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Take in the prediction of a batch. Raises UserError naming the images if a value is NaN or misshapen."""
        if prediction.maps is None and self.road_metrics is not None:
            raise UserError(
                "the method gives no anomaly maps, and road data are measured by their pixels",
                where=batch.dataset,
                hint="choose a method that localises",
            )
        labels = batch.labels.cpu().numpy()
        known = labels >= 0
        with located(batch):
            if prediction.scores is not None and (known.any() or self.road_metrics is None):
                self.image_metrics.update(as_array(prediction.scores)[known], labels[known])
                self.has_scores = True
            if prediction.maps is not None:
                self.has_maps = True
                if batch.truth is not None:
                    self._update_pixels(prediction.maps, batch, batch.truth)
                    self.has_masks = True
        self.images += image_scores(prediction, batch)
        self.dataset = batch.dataset
        self.n_images += len(batch)
        self.n_anomalous += int((labels == 1).sum())
        self.n_unknown += int((~known).sum())
        for key, contents in zip(batch.paths, batch.contents or (), strict=False):
            self.contents.add(key, contents)

    def _update_pixels(self, maps: Tensor | Sequence[Tensor], batch: Batch, truth: Tensor) -> None:
        """Take in maps and masks (B, H, W); at the size of the images where that is asked for, or defects are."""
        if self.road_metrics is not None:
            scaled = [as_array(resized(map_, labels.shape)) for map_, labels in zip(maps, truth, strict=True)]
            self.road_metrics.update(scaled, list(truth.cpu().numpy()))
            return
        measured: Maps = as_arrays(maps)
        masks: Masks = truth.cpu().numpy()
        if batch.defects is not None:
            whole = as_arrays(at_image_size(maps, batch))
            self.optional.update_defects(whole, batch.defects)
            if self._image_size:
                measured, masks = whole, masks_at_image_size(batch)
        self.pixel_metrics.update(measured, masks)
        self.optional.update(measured, masks)

    def merge(self, other: ClassAccumulator) -> ClassAccumulator:
        """Add another shard of the same class; `other` stays as it is."""
        self.image_metrics.merge(other.image_metrics)
        self.pixel_metrics.merge(other.pixel_metrics)
        if self.road_metrics is not None and other.road_metrics is not None:
            self.road_metrics.merge(other.road_metrics)
        self.optional.merge(other.optional)
        self.contents.merge(other.contents)
        self.images += other.images
        self.dataset = self.dataset or other.dataset
        self.n_images += other.n_images
        self.n_anomalous += other.n_anomalous
        self.n_unknown += other.n_unknown
        self.seconds += other.seconds
        self.has_scores |= other.has_scores
        self.has_maps |= other.has_maps
        self.has_masks |= other.has_masks
        return self

    def result(self) -> dict[str, Any]:
        """What `rows.build_rows` takes: metrics, counts, seconds, notes; the PRO curve and the scores of images.

        A metric is left out where the method gives no scores or maps; it is NaN where the data lack masks or a label.
        Of road data the number of anomalous images is None where labels are held back.
        """
        metrics = {f"{level}_{rule}": threshold for (level, rule), threshold in self.optional.thresholds.items()}
        notes, pro = self.contents.notes(), list[Point]()
        if self.has_scores:
            scored = [image["path"] for image in self.images if image["label"] >= 0 and image["score"] is not None]
            values, remarks = self.optional.of_images(self.image_metrics, objects_of(self.dataset, scored))
            metrics |= {**self.image_metrics.compute(thresholds=True), **values}
            notes += remarks
        if self.road_metrics is not None:
            metrics |= self.road_metrics.compute() if self.has_masks else dict.fromkeys(ROAD_METRICS, math.nan)
        elif self.has_maps and self.has_masks:
            values, remarks = self.optional.of_pixels()
            metrics |= {**self.pixel_metrics.compute(thresholds=True, pro=pro), **values}
            notes += remarks
            if self._image_size:
                notes.append("pixels counted at the size of the images")
            if self.pixel_metrics.mode == "constant":
                bounds = [bound for bound in self.pixel_metrics.error_bounds().values() if not math.isnan(bound)]
                notes.append(f"pixel metrics in constant memory: exact to {max(bounds, default=0.0):.1e}")
        elif self.has_maps:
            metrics |= {column.key: math.nan for column in self._columns if column.metric.level == "pixel"}
        if self.n_unknown:
            notes.append(f"the labels of {self.n_unknown} of {self.n_images} images are held back")
        return {
            "metrics": metrics,
            "n_images": self.n_images,
            "n_anomalous": None if self.n_unknown else self.n_anomalous,
            "seconds": self.seconds,
            "notes": notes,
            "pro": pro,
            "images": sorted(self.images, key=lambda image: str(image["path"])),
        }


def image_scores(prediction: Prediction, batch: Batch) -> list[dict[str, Any]]:
    """Per image of a batch: path, label, score (None where the method gives none), map_max (None without maps)."""
    scores: list[Any] = [None] * len(batch) if prediction.scores is None else as_array(prediction.scores).tolist()
    tops: list[Any] = [None] * len(batch)
    if prediction.maps is not None:
        tops = [float(map_.max()) for map_ in as_arrays(prediction.maps)]
    rows = zip(batch.paths, batch.labels.tolist(), scores, tops, strict=True)
    return [{"path": path, "label": label, "score": score, "map_max": top} for path, label, score, top in rows]


@contextlib.contextmanager
def located(batch: Batch) -> Iterator[None]:
    """Name the images of the batch in a UserError that is raised inside."""
    try:
        yield
    except UserError as error:
        images = batch.paths[0] + (f" to {batch.paths[-1]}" if len(batch) > 1 else "")
        raise UserError(error.what, where=f"{batch.dataset}: {images}: {error.where}", hint=error.hint) from error


def as_array(values: Tensor) -> NDArray[np.floating[Any]]:
    """A tensor as numpy array; half precision becomes float32, which is exact."""
    values = values.detach().cpu()
    array: NDArray[np.floating[Any]] = (
        values if values.dtype in (torch.float32, torch.float64) else values.float()
    ).numpy()
    return array


def as_arrays(maps: Tensor | Sequence[Tensor]) -> NDArray[np.floating[Any]] | list[NDArray[np.floating[Any]]]:
    """Maps as one array (B, H, W), or a list of (H, W) where sizes differ."""
    return as_array(maps) if isinstance(maps, Tensor) else [as_array(map_) for map_ in maps]
