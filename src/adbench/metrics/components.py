"""Component metrics of segmentation with unknown pixels: sIoU-gt, PPV, mean F1 (SegmentMeIfYouCan, section 3.2).

Source: Chan et al., SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation, NeurIPS 2021 Datasets and Benchmarks.
For a component k of the annotation, K the union of the predicted components that touch it, A the pixels of K in other
components of the annotation:  sIoU(k) = |k and K| / |(k or K) without A|;  PPV(p) = |p and annotation| / |p|.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adbench.errors import UserError
from adbench.metrics.inputs import IGNORED, Labels, Mask, Scores, labelled_images

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

    found, n_found = ndimage.label(predicted & (labels != IGNORED), _EIGHT)
    marked, n_marked = ndimage.label(labels == 1, _EIGHT)
    found = np.where(_smaller(found, n_found, min_pred), 0, found)
    inside = (labels != IGNORED) & ~_smaller(marked, n_marked, min_gt)

    # How many pixels each pair (annotated component, predicted component) shares, 0 being none of them
    pairs, shared = np.unique(marked[inside].astype(np.int64) * (n_found + 1) + found[inside], return_counts=True)
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


class ComponentMetrics:
    """Accumulate score maps and labels at a given score threshold, then `compute`.

    threshold         a pixel is predicted where its score is larger (strictly)
    min_pred, min_gt  see `components`; AnomalyTrack: 500 and 100, ObstacleTrack: 50 and 10
    taus              bounds of sIoU and PPV from which a component counts as found
    """

    def __init__(
        self, threshold: float, *, min_pred: int = 500, min_gt: int = 100, taus: Sequence[float] = TAUS
    ) -> None:
        if min(min_pred, min_gt) < 0:
            raise UserError(f"the smallest components have {min_pred} and {min_gt} pixels", hint="give 0 or more")
        self.threshold, self.min_pred, self.min_gt = float(threshold), min_pred, min_gt
        self.taus = tuple(float(tau) for tau in taus)
        self.images: list[Components] = []

    def update(
        self, maps: ArrayLike | Sequence[ArrayLike], labels: ArrayLike | Sequence[ArrayLike]
    ) -> ComponentMetrics:
        """Add maps (B, H, W) and labels (B, H, W) of 0, 1, 255, or lists of (H, W)."""
        self.images += [self._image(scores, one) for scores, one in [*labelled_images(maps, labels)]]
        return self

    def merge(self, other: ComponentMetrics) -> ComponentMetrics:
        """Add what `other` holds, which stays as it is; both must have the same threshold."""
        if (self.threshold, self.min_pred, self.min_gt, self.taus) != (
            *(other.threshold, other.min_pred, other.min_gt, other.taus),
        ):
            raise UserError("component metrics of other settings cannot be merged", hint="use one threshold and sizes")
        self.images += other.images
        return self

    def counts(self) -> dict[str, NDArray[np.int64]]:
        """Numbers "tp", "fn" and "fp" at every tau (T,), over all images: sIoU-gt >= tau, sIoU-gt < tau, PPV < tau."""
        return counts(self.images, self.taus)

    def compute(self) -> dict[str, float]:
        """Return the metrics over all components of all images, 0 to 1, and the mean counts over `taus`.

        component_siou_gt, component_siou_pred and component_ppv are NaN without such components. component_f1, the mean
        of F1 over `taus`, is 0 where nothing is predicted.
        """
        siou_gt, siou_pred, ppv = (
            np.concatenate([np.zeros(0), *(getattr(one, name) for one in self.images)])
            for name in ("siou_gt", "siou_pred", "ppv")
        )
        numbers = self.counts()
        return {
            "component_siou_gt": _mean(siou_gt),
            "component_siou_pred": _mean(siou_pred),
            "component_ppv": _mean(ppv),
            "component_f1": float(self.f1().mean()),
            **{f"component_{name}": float(values.mean()) for name, values in numbers.items()},
        }

    def f1(self) -> Reals:
        """F1 = 2 TP / (2 TP + FN + FP) at every tau (T,); 0 where there is neither an annotation nor a prediction."""
        numbers = self.counts()
        twice = 2 * numbers["tp"]
        values: Reals = twice / np.maximum(twice + numbers["fn"] + numbers["fp"], 1)
        return values

    def _image(self, scores: Scores, labels: Labels) -> Components:
        # In float64: NumPy may round the threshold to the type of the scores before it compares.
        predicted = scores.astype(np.float64) > self.threshold
        return components(predicted, labels, min_pred=self.min_pred, min_gt=self.min_gt)


def counts(images: Sequence[Components], taus: Sequence[float]) -> dict[str, NDArray[np.int64]]:
    """Numbers "tp", "fn", "fp" of components of `images` at every tau (T,)."""
    siou = np.concatenate([np.zeros(0), *(one.siou_gt for one in images)])
    ppv = np.concatenate([np.zeros(0), *(one.ppv for one in images)])
    bounds = np.asarray(taus, np.float64)[:, None]
    found: Mapping[str, Any] = {"tp": siou >= bounds, "fn": siou < bounds, "fp": ppv < bounds}  # (T, components)
    return {name: values.sum(1) for name, values in found.items()}


def _smaller(numbered: NDArray[Any], count: int, least: int) -> Mask:
    """Which pixels (H, W) belong to a component, of `count`, with fewer than `least` pixels."""
    small = np.bincount(numbered.ravel(), minlength=count + 1) < least
    small[0] = False
    pixels: Mask = small[numbered]
    return pixels


def _mean(values: Reals) -> float:
    return float(values.mean()) if len(values) else float("nan")
