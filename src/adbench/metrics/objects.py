"""Figures of objects that several images show: the views of a part, the tiles of a strip, the slices of a body.

An object's score is the largest of its images' scores; it is anomalous where one of its images is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from adbench.metrics.inputs import Mask, Scores
from adbench.metrics.metric import Metric
from adbench.metrics.ranking import auroc, average_precision, f1_max


def by_object(scores: Scores, labels: Mask, objects: Sequence[str]) -> tuple[Scores, Mask]:
    """Scores and labels of the objects (M,), of the images' (N,) and of what each of them shows."""
    names, numbers = np.unique(np.asarray(objects, dtype=np.str_), return_inverse=True)
    largest, anomalous = np.full(len(names), -np.inf, scores.dtype), np.zeros(len(names), np.bool_)
    np.maximum.at(largest, numbers, scores)
    np.logical_or.at(anomalous, numbers, labels)
    return largest, anomalous


def _metric(name: str, title: str, of_images: Callable[..., float]) -> Metric:
    formula = f"image {title} of objects, each with the largest score of the images that show it"
    return Metric(
        name=f"object_{name}",
        title=f"object {title}",
        level="image",
        formula=formula,
        source="Real-IAD (Wang et al., CVPR 2024): figures per part, of five views",
        of_images=of_images,
        by_object=True,
    )


DEFINITIONS = (
    _metric("auroc", "AUROC", auroc),
    _metric("ap", "AP", average_precision),
    _metric("f1max", "F1-max", f1_max),
)
