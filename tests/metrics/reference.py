"""What the metrics are compared with: scikit-learn, and definitions spelled out threshold by threshold; and inputs."""

from __future__ import annotations

import numpy as np
from skimage.measure import label
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

TOLERANCE = 1e-9


def sklearn_values(scores, labels):
    scores, labels = np.ravel(scores), np.ravel(labels)
    if scores.dtype == np.float16:
        scores = scores.astype(np.float32)
    if len(np.unique(labels)) < 2:
        return dict.fromkeys(("auroc", "ap", "f1max"), np.nan)
    precision, recall, _ = precision_recall_curve(labels, scores)
    with np.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    return {
        "auroc": roc_auc_score(labels, scores),
        "ap": average_precision_score(labels, scores),
        "f1max": np.nanmax(f1),
    }


def pro_curve(maps, masks, thresholds, compare=np.greater_equal):
    """FPR and PRO at each threshold, one pass over the pixels for each."""
    regions = [np.where(label(mask, connectivity=2) == k) for mask in masks for k in range(1, label(mask).max() + 1)]
    owners = [i for i, mask in enumerate(masks) for _ in range(label(mask).max())]
    fprs, pros = [], []
    for threshold in thresholds:
        found = compare(maps, threshold)
        fprs.append(np.count_nonzero(found & (masks == 0)) / np.count_nonzero(masks == 0))
        pros.append(np.mean([found[i][region].mean() for i, region in zip(owners, regions, strict=True)]))
    return np.array(fprs), np.array(pros)


def brute_force_aupro(maps, masks, limit):
    """One point per distinct score, (0, 0) first, straight lines, cut at the limit, divided by it."""
    fprs, pros = pro_curve(maps, masks, np.unique(maps)[::-1])
    fprs, pros = np.append(0.0, fprs), np.append(0.0, pros)
    area = 0.0
    for x0, x1, y0, y1 in zip(fprs[:-1], fprs[1:], pros[:-1], pros[1:], strict=True):
        if x1 > limit:
            y1, x1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0), limit
        area += (x1 - x0) * (y0 + y1) / 2
        if x1 == limit:
            break
    return area / limit


def random_masks(rng, n, height, width, n_regions=3):
    """Blobs, single pixels, diagonal chains and regions at the border; the first image is normal."""
    masks = np.zeros((n, height, width), bool)
    for mask in masks[1:]:
        for _ in range(n_regions):
            y, x = rng.integers(0, (height, width))
            mask[y : y + rng.integers(1, 5), x : x + rng.integers(1, 6)] = True
        y, x = rng.integers(0, (height - 3, width - 3))
        mask[y + np.arange(3), x + np.arange(3)] = True
        mask[-1, -2:] = rng.random() < 0.5
    return masks


def _base(rng, masks):
    return rng.normal(size=masks.shape) + 0.8 * masks


def _sigmoid(values):
    return 1 / (1 + np.exp(-values))


def _signed_zeros(rng, masks):
    return rng.choice(np.array([-1.0, -0.0, 0.0, 1.0], np.float32), masks.shape)


# name -> maps of the masks' shape
INPUTS = {
    "random": lambda rng, masks: _base(rng, masks).astype(np.float32),
    "tied": lambda rng, masks: np.round(_base(rng, masks), 1).astype(np.float32),
    "few_values": lambda rng, masks: np.clip(np.round(_base(rng, masks)), -1, 1).astype(np.float32),
    "constant": lambda rng, masks: np.full(masks.shape, 0.25, np.float32),
    "near_zero": lambda rng, masks: _sigmoid(4 * _base(rng, masks) - 20).astype(np.float32),
    "near_one": lambda rng, masks: _sigmoid(4 * _base(rng, masks) + 14).astype(np.float32),
    "negative": lambda rng, masks: (_base(rng, masks) - 50).astype(np.float32),
    "beyond_one": lambda rng, masks: (1e6 * (_base(rng, masks) + 4)).astype(np.float32),
    "signed_zeros": _signed_zeros,
    "half": lambda rng, masks: _sigmoid(_base(rng, masks)).astype(np.float16),
    "double": lambda rng, masks: 1 + 1e-9 * _base(rng, masks),  # float32 would make all of them equal
    "integer": lambda rng, masks: np.clip(40 * _base(rng, masks) + 100, 0, 255).astype(np.uint8),
    "perfect": lambda rng, masks: (rng.random(masks.shape) + masks).astype(np.float32),
    "inverted": lambda rng, masks: (rng.random(masks.shape) - masks).astype(np.float32),
}
