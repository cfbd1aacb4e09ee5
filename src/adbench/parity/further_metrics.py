"""Parity cases `metrics_more`: sPRO, AUPIMO, AUPRO at several limits, figures at thresholds, by our accumulators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench.metrics import auroc
from adbench.metrics.aupimo import AupimoMetrics
from adbench.metrics.calibration import ece
from adbench.metrics.intervals import delong
from adbench.metrics.operating_points import balanced_accuracy, fpr95, recall_at_fpr
from adbench.metrics.pixel import PixelMetrics
from adbench.metrics.spro import Channel, Saturation, SproMetrics, spro
from adbench.metrics.thresholded import ScoreMoments, ThresholdedPixels

Tensors = Mapping[str, NDArray[Any]]
RATES = (0.0, 0.05, 0.2)


def run_case(case: Mapping[str, Any], tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Return our tensors of `case` (case.json) under the fixture's keys, from the `input/` tensors alone."""
    values = {**_spro(case, tensors), **_aupimo(case, tensors), **_pixels(case, tensors), **_images(tensors)}
    return {f"expected/{name}": np.asarray(value) for name, value in values.items()}


def _spro(case: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
    """AUC-sPRO of each kind of anomaly with the good images, their mean, of the whole set; its curve; per channel."""
    maps, limits = tensors["input/maps"], case["hyperparameters"]["max_fprs"]
    placed = [
        (int(image), _channel(stored, case["defects_config"]))
        for image, stored in zip(tensors["input/channel_image"], tensors["input/channels"], strict=True)
    ]
    channels = [[channel for image, channel in placed if image == number] for number in range(len(maps))]
    good, *kinds = range(len(case["subsets"]))
    whole = SproMetrics().update(maps, channels)
    values: dict[str, dict[float, float]] = {"all": _areas(whole, limits)}
    for kind in kinds:
        chosen = np.flatnonzero(np.isin(tensors["input/subset"], (good, kind)))
        part = SproMetrics().update(maps[chosen], [channels[i] for i in chosen])
        values[case["subsets"][kind]] = _areas(part, limits)
    values["mean"] = {
        limit: float(np.mean([values[case["subsets"][kind]][limit] for kind in kinds])) for limit in limits
    }
    fprs, spros = whole.above(np.append(np.unique(maps)[::-1], -np.inf))
    return {
        **{f"auc_spro_exact/{name}/fpr{limit}": v for name, areas in values.items() for limit, v in areas.items()},
        "spro_saturation_areas": [defect.saturation.area(int(np.count_nonzero(defect.mask))) for _, defect in placed],
        "spro_at_threshold": [
            spro(maps[image], defect, float(tensors["input/spro_threshold"])) for image, defect in placed
        ],
        "spro_curve/fprs": fprs,
        "spro_curve/spros": spros,
    }


def _channel(stored: NDArray[Any], config: Sequence[Mapping[str, Any]]) -> Channel:
    """A channel as it is stored: 0, or the pixel value of its entry in `config`."""
    defect = next(entry for entry in config if entry["pixel_value"] == stored.max())
    return Channel(stored > 0, Saturation(defect["saturation_threshold"], defect["relative_saturation"]))


def _areas(metrics: SproMetrics, limits: Sequence[float]) -> dict[float, float]:
    return {limit: metrics.compute(limit)["pixel_auspro"] for limit in limits}


def _aupimo(case: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
    """The official form, however few its points."""
    values: dict[str, Any] = {}
    for lower, upper in case["hyperparameters"]["fpr_bounds"]:
        n_thresholds = case["hyperparameters"]["num_thresholds"]
        metrics = AupimoMetrics(bounds=(lower, upper), n_thresholds=n_thresholds)
        metrics.update(tensors["input/maps"], tensors["input/masks"])
        grid, per_image = metrics.grid(), metrics.per_image()
        values |= {
            f"aupimo/{lower}_{upper}/per_image": per_image,
            f"aupimo/{lower}_{upper}/mean": per_image.mean(),
            f"aupimo_integration_points/{lower}_{upper}": len(grid.fprs),
            f"aupimo_defacto_bounds/{lower}_{upper}": [grid.fprs[-1], grid.fprs[0]],
        }
    return values


def _pixels(case: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
    maps, masks = tensors["input/maps"], tensors["input/masks"]
    values: dict[str, Any] = {}
    for limit in case["hyperparameters"]["max_fprs"]:
        aupro = PixelMetrics(aupro_limit=limit).update(maps, masks).compute()["pixel_aupro"]
        values[f"aupro_exact_fpr{limit}"] = aupro
    threshold = ScoreMoments().update(tensors["input/validation_maps"]).threshold()
    figures = ThresholdedPixels(threshold).update(maps, masks).compute()
    del figures["classf1"]
    return {**values, "segf1_threshold_mean3std": threshold, **figures}


def _images(tensors: Tensors) -> dict[str, float]:
    scores, labels = tensors["input/image_scores"], tensors["input/labels"]
    return {
        "image_auroc": auroc(scores, labels),
        "image_auroc_delong_variance": delong(scores, labels).variance,
        "image_fpr95": fpr95(scores, labels),
        **{f"image_recall_at_fpr{rate}": recall_at_fpr(scores, labels, rate) for rate in RATES},
        "image_balanced_accuracy": balanced_accuracy(scores, labels, float(tensors["input/image_threshold"])),
        "image_ece_15bins": ece(tensors["input/image_probabilities"], labels),
    }
