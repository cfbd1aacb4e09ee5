"""Run a parity fixture of the metrics through the ordinary accumulators and name our values as the fixture does.

Three kinds of case: `metrics/*` (one class), `road_metrics/*` (a road data set) and AdaCLIP's `evaluation_metrics` (a
table, made with protocol="official").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench.metrics.aupro200 import GRIDS
from adbench.metrics.components import TAUS, component_metrics, components_above, counts, f1
from adbench.metrics.image import ImageMetrics
from adbench.metrics.inputs import labelled_images
from adbench.metrics.pixel import PixelMetrics
from adbench.metrics.road_pixels import BINS, road_curve
from adbench.metrics.table import MEAN, summarise

Tensors = Mapping[str, NDArray[Any]]
FPR_LIMITS = (0.3, 0.05, 1.0)
# AdaCLIP's columns, in percent
COLUMNS = {
    "auroc_im": "image_auroc",
    "f1_im": "image_f1max",
    "ap_im": "image_ap",
    "auroc_px": "pixel_auroc",
    "f1_px": "pixel_f1max",
    "ap_px": "pixel_ap",
}


def run_case(case: Mapping[str, Any], tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Return our tensors of `case` (case.json) under the fixture's keys, from the `input/` tensors alone."""
    if case.get("method") == "road_metrics":
        values = _road(case, tensors)
    else:
        values = _table(case, tensors) if case.get("kind") == "evaluation_metrics" else _one_class(tensors)
    return {f"expected/{name}": value for name, value in values.items()}


def _one_class(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Metrics of one class, in [0, 1]; a value without a finite definition is NaN."""
    maps, masks = tensors["input/maps"], tensors["input/masks"]
    ours: dict[str, Any] = {}
    for limit in FPR_LIMITS:
        ours[f"aupro_exact_fpr{limit}"] = PixelMetrics(aupro_limit=limit).update(maps, masks).compute()["pixel_aupro"]
    for grid in GRIDS:
        pixels = PixelMetrics(aupro200=True, grid=grid).update(maps, masks)
        values = pixels.compute()
        curve = pixels.threshold_curve(grid)
        ours[f"aupro_200thr_{grid}"] = values["pixel_aupro200"]
        ours |= {f"thresholds_{grid}": curve.thresholds, f"fprs_{grid}": curve.fprs, f"pros_{grid}": curve.pros}
    values |= ImageMetrics().update(tensors["input/image_scores"], tensors["input/labels"]).compute()
    for level in ("pixel", "image"):
        ours |= {f"{level}_{theirs}": values[f"{level}_{name}"] for theirs, name in _RANKING.items()}
    return {name: np.asarray(value, np.float64) for name, value in ours.items()}


_RANKING = {"auroc": "auroc", "ap": "ap", "max_f1": "f1max"}


def _table(case: Mapping[str, Any], tensors: Tensors) -> dict[str, NDArray[Any]]:
    """A table in percent: a row per class, and their mean."""
    names = np.asarray(case["class_names"])
    rows = {}
    for name in case["classes_in_order"]:
        of_class = names == name
        images = ImageMetrics().update(tensors["input/scores"][of_class], tensors["input/labels"][of_class])
        pixels = PixelMetrics().update(tensors["input/maps"][of_class], tensors["input/masks"][of_class])
        rows[name] = {**images.compute(), **pixels.compute()}
    table = summarise(rows, protocol="official")
    columns = [COLUMNS[column] for column in case["columns"]]
    percent = {name: np.asarray([100 * row[column] for column in columns], np.float32) for name, row in table.items()}
    return {"per_class": np.stack([percent[name] for name in case["classes_in_order"]]), "average": percent[MEAN]}


def _road(case: Mapping[str, Any], tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Both protocols' pixel metrics, and component metrics at the given threshold: of the set, and of each image."""
    maps, labels = tensors["input/scores"], tensors["input/labels"]
    settings = case["hyperparameters"]
    images = list(labelled_images(maps, labels))
    exact, binned = road_curve(images), road_curve(images, "smiyc", bins=settings.get("num_bins", BINS))
    ours: dict[str, Any] = {
        **{f"exact/{theirs}": getattr(exact, name) for theirs, name in _EXACT.items()},
        **{f"benchmark/{theirs}": getattr(binned, name) for theirs, name in _BINNED.items()},
    }
    taus = settings.get("thresh_sIoU", TAUS)
    threshold = float(tensors["input/component_score_threshold"])
    sizes = {"min_pred": settings["thresh_segsize"], "min_gt": settings["thresh_instsize"]}
    parts = [components_above(threshold, *image, **sizes) for image in images]
    values, f1_at_taus = component_metrics(parts, taus), f1(counts(parts, taus))
    ours |= {f"component/{theirs}": values[f"component_{name}"] for theirs, name in _COMPONENTS.items()}
    ours["component/thresholds"] = taus
    for percent in (25, 50, 75):
        ours[f"component/f1_{percent}"] = f1_at_taus[int(np.abs(np.asarray(taus) - percent / 100).argmin())]
    for number, image in enumerate(parts):
        of_image = {theirs: getattr(image, name) for theirs, name in _PER_IMAGE.items()}
        of_image |= counts([image], taus)
        ours |= {f"component/image{number}/{name}": value for name, value in of_image.items()}
    return {name: np.asarray(value) for name, value in ours.items()}


_EXACT = {"ap": "ap", "auroc": "auroc", "fpr95": "fpr95", "thr95": "threshold95"}
_BINNED = {
    "area_PRC": "ap",
    "area_ROC": "auroc",
    "tpr95_fpr": "fpr95",
    "tpr95_threshold": "threshold95",
    "best_f1": "best_f1",
    "best_f1_threshold": "best_threshold",
}
_COMPONENTS = {
    "sIoU_gt": "siou_gt",
    "sIoU_pred": "siou_pred",
    "prec_pred": "ppv",
    "f1_mean": "f1",
    **{f"{name}_mean": name for name in ("tp", "fn", "fp")},
}
_PER_IMAGE = {
    "sIoU_gt": "siou_gt",
    "size_gt": "size_gt",
    "sIoU_pred": "siou_pred",
    "prec_pred": "ppv",
    "size_pred": "size_pred",
}
