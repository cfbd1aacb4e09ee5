"""Anomaly-detection metrics on NumPy arrays: exact with ties, streaming, mergeable. Importing this needs no torch.

Accumulators, for results that arrive batch by batch or from several processes:
    `PixelMetrics`  maps and masks    -> pixel_auroc, pixel_ap, pixel_f1max, pixel_aupro (and pixel_aupro200)
    `ImageMetrics`  scores and labels -> image_auroc, image_ap, image_f1max
    `RoadMetrics`   maps and labels with ignored pixels -> pixel_ap, pixel_auroc, pixel_fpr95 and component metrics
Functions, for arrays at hand: `auroc`, `average_precision`, `f1_max`, `aupro`, `aupro200`.
Thresholds: `conformal_threshold`, from normal scores alone; `clopper_pearson`, how well a rate is known.
Tables: `summarise` adds the mean over the classes of a data set.
How sure they are: `adbench.metrics.intervals`, bootstrap over images and DeLong.

All values lie in [0, 1]; NaN means undefined (one label only). A higher score means more anomalous.
"""

from adbench.metrics.conformal import clopper_pearson, conformal_threshold
from adbench.metrics.image import ImageMetrics
from adbench.metrics.pixel import PixelMetrics, aupro, aupro200
from adbench.metrics.ranking import auroc, average_precision, f1_max
from adbench.metrics.road import ROAD_METRICS, RoadMetrics
from adbench.metrics.table import summarise

__all__ = [
    "ROAD_METRICS",
    "ImageMetrics",
    "PixelMetrics",
    "RoadMetrics",
    "aupro",
    "aupro200",
    "auroc",
    "average_precision",
    "clopper_pearson",
    "conformal_threshold",
    "f1_max",
    "summarise",
]
