"""Component metrics of segmentation with unknown pixels: sIoU-gt, PPV, mean F1 (SegmentMeIfYouCan, section 3.2).

Source: Chan et al., SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation, NeurIPS 2021 Datasets and Benchmarks.
For a component k of the annotation, K the union of the predicted components that touch it, A the pixels of K in other
components of the annotation:  sIoU(k) = |k and K| / |(k or K) without A|;  PPV(p) = |p and annotation| / |p|.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adbench.metrics.inputs import IGNORED, Labels, Mask, Scores

Reals = NDArray[np.float64]
TAUS = tuple(float(tau) for tau in np.linspace(0.25, 0.75, 11))
_EIGHT = np.ones((3, 3), np.bool_)


class Components(NamedTuple):
    """The components of one image, each kind in scan order of their first pixel; sizes inside the region of interest.

    siou_gt, size_gt      of annotated components (G,)
    siou_pred, ppv, size_pred  of predicted components (P,)
    """

    siou_gt: Reals
    size_gt: NDArray[np.int64]
    siou_pred: Reals
    ppv: Reals
    size_pred: NDArray[np.int64]


def components(predicted: Mask, labels: Labels, *, min_pred: int, min_gt: int) -> Components:
    """Compare a predicted mask (H, W) with labels (H, W) of 0, 1 and 255 (outside the region of interest).

    Ignored pixels are not predicted, whatever `predicted` says: they split components. Predicted components of fewer
    than `min_pred` pixels are deleted. Annotated components of fewer than `min_gt` pixels leave the region of interest
    afterwards: they no longer split or shrink what counts as one predicted component, only its size. A predicted
    component that lies wholly outside of the region does not count.
    """
    from scipy import ndimage

    predictions, n_found = ndimage.label(predicted & (labels != IGNORED), _EIGHT)
    marked, n_marked = ndimage.label(labels == 1, _EIGHT)
    predictions = np.where(_smaller(predictions, n_found, min_pred), 0, predictions)
    inside = (labels != IGNORED) & ~_smaller(marked, n_marked, min_gt)

    # How many pixels each pair (annotated component, predicted component) shares, 0 being none of them
    pairs, shared = np.unique(marked[inside].astype(np.int64) * (n_found + 1) + predictions[inside], return_counts=True)
    in_gt, in_pred = np.divmod(pairs, n_found + 1)
    size_gt = np.bincount(in_gt, shared, n_marked + 1)
    size_pred = np.bincount(in_pred, shared, n_found + 1)
    beside_gt = np.zeros(n_found + 1)  # pixels of each predicted component outside of the annotation
    beside_gt[in_pred[in_gt == 0]] = shared[in_gt == 0]
    beside_pred = np.zeros(n_marked + 1)
    beside_pred[in_gt[in_pred == 0]] = shared[in_pred == 0]
    both = (in_gt > 0) & (in_pred > 0)
    in_gt, in_pred, shared = in_gt[both], in_pred[both], shared[both]

    # Of the union of k and K without A nothing is left but k and the pixels of K outside of the annotation.
    with np.errstate(invalid="ignore"):
        siou_gt = np.bincount(in_gt, shared, n_marked + 1) / (
            size_gt + np.bincount(in_gt, beside_gt[in_pred], n_marked + 1)
        )
        overlap = np.bincount(in_pred, shared, n_found + 1)
        siou_pred = overlap / (size_pred + np.bincount(in_pred, beside_pred[in_gt], n_found + 1))
        ppv = overlap / size_pred
    kept_gt, kept_pred = 1 + np.flatnonzero(size_gt[1:]), 1 + np.flatnonzero(size_pred[1:])
    return Components(
        siou_gt[kept_gt],
        size_gt[kept_gt].astype(np.int64),
        siou_pred[kept_pred],
        ppv[kept_pred],
        size_pred[kept_pred].astype(np.int64),
    )


def components_above(
    threshold: float, scores: Scores, labels: Labels, *, min_pred: int = 500, min_gt: int = 100
) -> Components:
    """`components` of the pixels whose score is larger (strictly). AnomalyTrack: 500 and 100, ObstacleTrack: 50, 10."""
    # In float64: NumPy may round the threshold to the type of the scores before it compares.
    return components(scores.astype(np.float64) > threshold, labels, min_pred=min_pred, min_gt=min_gt)


def component_metrics(images: Sequence[Components], taus: Sequence[float] = TAUS) -> dict[str, float]:
    """The metrics over all components of all images, 0 to 1, and the mean counts over `taus`.

    component_siou_gt, component_siou_pred and component_ppv are NaN without such components. component_f1, the mean of
    F1 over `taus`, is 0 where nothing is predicted.
    """
    means = {}
    for name in ("siou_gt", "siou_pred", "ppv"):
        values = np.concatenate([np.zeros(0), *(getattr(image, name) for image in images)])
        means[name] = values.mean() if len(values) else np.nan
    numbers = counts(images, taus)
    means |= {"f1": f1(numbers).mean(), **{name: values.mean() for name, values in numbers.items()}}
    return {f"component_{name}": float(value) for name, value in means.items()}


def counts(images: Sequence[Components], taus: Sequence[float]) -> dict[str, NDArray[np.int64]]:
    """Numbers "tp", "fn" and "fp" at every tau (T,), over all images: sIoU-gt >= tau, sIoU-gt < tau, PPV < tau."""
    siou = np.concatenate([np.zeros(0), *(image.siou_gt for image in images)])
    ppv = np.concatenate([np.zeros(0), *(image.ppv for image in images)])
    bounds = np.asarray(taus, np.float64)[:, None]
    return {"tp": (siou >= bounds).sum(1), "fn": (siou < bounds).sum(1), "fp": (ppv < bounds).sum(1)}


def f1(numbers: Mapping[str, NDArray[np.int64]]) -> Reals:
    """F1 = 2 TP / (2 TP + FN + FP) at every tau (T,); 0 where there is neither an annotation nor a prediction."""
    twice = 2 * numbers["tp"]
    values: Reals = twice / np.maximum(twice + numbers["fn"] + numbers["fp"], 1)
    return values


def _smaller(numbered: NDArray[Any], count: int, least: int) -> Mask:
    """Which pixels (H, W) belong to a component, of `count`, with fewer than `least` pixels."""
    small = np.bincount(numbered.ravel(), minlength=count + 1) < least
    small[0] = False
    pixels: Mask = small[numbered]
    return pixels
