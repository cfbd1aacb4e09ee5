"""Figures of pixels at a threshold against scikit-learn on the pooled pixels; the threshold from validation maps."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from adbench.metrics.thresholded import NAMES, ScoreMoments, ThresholdedPixels
from metrics.reference import INPUTS, random_masks


@pytest.mark.parametrize("name", INPUTS)
def test_equals_scikit_learn_on_the_pooled_pixels(name):
    rng = np.random.default_rng([sum(map(ord, name)), 3])
    masks = random_masks(rng, 5, 10, 12)
    maps = INPUTS[name](rng, masks)
    threshold = float(np.sort(maps.ravel().astype(np.float64))[-40])  # a score itself: not above

    values = ThresholdedPixels(threshold).update(maps, masks).compute()

    found = maps.astype(np.float64) > threshold
    truth, predicted = masks.ravel(), found.ravel()
    images = masks.any(axis=(1, 2)), found.any(axis=(1, 2))
    assert values == pytest.approx(
        {
            "segf1": f1_score(truth, predicted, zero_division=0),
            "seg_iou": jaccard_score(truth, predicted, zero_division=0),
            "seg_precision": precision_score(truth, predicted, zero_division=0),
            "seg_recall": recall_score(truth, predicted, zero_division=0),
            "classf1": f1_score(*images, zero_division=0),
        },
        abs=1e-12,
    )
    assert values["seg_iou"] == pytest.approx(values["segf1"] / (2 - values["segf1"]), abs=1e-12)


def test_good_images_count_and_the_threshold_is_not_rounded():
    mask, score = np.array([[1, 0]]), np.float32(0.1)
    maps = np.full((2, 1, 2), score)
    metrics = ThresholdedPixels(0.1).update(maps, [mask, None])  # 0.1 in float32 lies above 0.1
    assert metrics.compute()["seg_precision"] == 0.25
    assert metrics.compute()["classf1"] == pytest.approx(2 / 3)


def test_undefined_without_anomalous_pixels_or_a_threshold():
    maps = np.ones((2, 3, 3))
    assert all(math.isnan(value) for value in ThresholdedPixels(0.5).update(maps).compute().values())
    without = ThresholdedPixels(math.nan).update(maps, np.ones((2, 3, 3))).compute()
    assert list(without) == list(NAMES)
    assert all(math.isnan(value) for value in without.values())
    assert ThresholdedPixels(2.0).update(maps, np.ones((2, 3, 3))).compute()["seg_precision"] == 0.0
    assert math.isnan(ThresholdedPixels(2.0).update(maps[:0], np.ones((0, 3, 3))).compute()["segf1"])


def test_parts_merge():
    rng = np.random.default_rng(4)
    masks = random_masks(rng, 6, 9, 9)
    maps = rng.normal(size=masks.shape)
    parts = [ThresholdedPixels(0.3).update(maps[i::3], masks[i::3]) for i in range(3)]
    merged = pickle.loads(pickle.dumps(parts[0])).merge(parts[2]).merge(parts[1])
    assert merged.compute() == ThresholdedPixels(0.3).update(maps, masks).compute()


@pytest.mark.parametrize("offset", [0.0, 1e4, -3.0])
def test_threshold_is_mean_and_three_population_deviations_in_float64(offset):
    rng = np.random.default_rng(5)
    maps = [(rng.normal(size=size) + offset).astype(np.float32) for size in [(7, 9), (30, 31), (1, 1), (0, 4)]]
    pooled = np.concatenate([m.ravel() for m in maps]).astype(np.float64)

    one, other = ScoreMoments().update(maps[:2]), ScoreMoments().update(maps[2:])
    assert one.merge(other).threshold() == pytest.approx(pooled.mean() + 3 * pooled.std(), rel=1e-13)
    assert one.n == pooled.size
    assert math.isnan(ScoreMoments().threshold())
    half = rng.random((2, 5, 5)).astype(np.float16)
    expected = half.astype(np.float64).mean() + 3 * half.astype(np.float64).std()
    assert ScoreMoments().update(half).threshold() == pytest.approx(expected, rel=1e-13)
