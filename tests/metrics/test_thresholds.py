"""The threshold that gives F1-max, against every threshold tried in turn and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_curve

from adbench.metrics import ImageMetrics, PixelMetrics, ranking
from adbench.metrics.exact import STRETCH
from metrics.reference import INPUTS, random_masks


def brute_force(scores, labels):
    """The largest F1 of `score >= t` over all scores, and the highest t that gives it."""
    thresholds = np.unique(scores)[::-1]
    f1 = [2 * np.sum(labels & (scores >= t)) / (np.sum(labels) + np.sum(scores >= t)) for t in thresholds]
    return max(f1), float(thresholds[int(np.argmax(f1))])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", INPUTS)
def test_image_and_pixel_threshold_are_the_best_of_all(kind, seed):
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, 3, 16, 16)
    maps = INPUTS[kind](rng, masks)
    f1, threshold = brute_force(maps.ravel(), masks.ravel())

    image = ImageMetrics().update(maps.ravel(), masks.ravel()).compute(thresholds=True)
    pixel = PixelMetrics().update(maps, masks).compute(thresholds=True)

    assert (image["image_f1max"], image["image_f1max_threshold"]) == (f1, threshold)
    assert (pixel["pixel_f1max"], pixel["pixel_f1max_threshold"]) == (f1, threshold)
    assert f1_score(masks.ravel(), maps.ravel() >= threshold) == pytest.approx(f1, abs=1e-12)


def test_scikit_learns_curve_has_it():
    rng = np.random.default_rng(5)
    labels = rng.random(60) < 0.4
    scores = rng.normal(labels)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / (precision + recall)

    values = ImageMetrics().update(scores, labels).compute(thresholds=True)

    assert values["image_f1max_threshold"] == thresholds[int(np.argmax(f1[:-1]))]


def test_of_equal_f1_the_highest_threshold_is_given():
    values = ImageMetrics().update([0.9, 0.8, 0.7, 0.6], [1, 0, 0, 1]).compute(thresholds=True)

    assert values["image_f1max"] == pytest.approx(2 / 3)
    assert values["image_f1max_threshold"] == 0.9


def test_one_label_only_has_no_threshold():
    assert np.isnan(ImageMetrics().update([0.1, 0.2], [1, 1]).compute(thresholds=True)["image_f1max_threshold"])
    assert np.isnan(PixelMetrics().update(np.zeros((1, 2, 2))).compute(thresholds=True)["pixel_f1max_threshold"])


@pytest.mark.parametrize("mode", ["exact", "constant"])
def test_merged_parts_give_the_same_threshold(mode):
    rng = np.random.default_rng(1)
    masks = random_masks(rng, 6, 20, 20)
    maps = INPUTS["tied"](rng, masks)
    whole = PixelMetrics(mode=mode).update(maps, masks)
    merged = (
        PixelMetrics(mode=mode).update(maps[3:], masks[3:]).merge(PixelMetrics(mode=mode).update(maps[:3], masks[:3]))
    )

    assert merged.compute(thresholds=True) == pytest.approx(whole.compute(thresholds=True), abs=1e-12)


@pytest.mark.parametrize("kind", ["random", "near_zero", "negative", "few_values"])
def test_in_constant_mode_it_reaches_the_f1_that_is_told(kind):
    rng = np.random.default_rng(2)
    masks = random_masks(rng, 4, 24, 24)
    maps = INPUTS[kind](rng, masks)

    values = PixelMetrics(mode="constant").update(maps, masks).compute(thresholds=True)

    reached = f1_score(masks.ravel(), maps.ravel() >= values["pixel_f1max_threshold"])
    assert reached == pytest.approx(values["pixel_f1max"], abs=1e-12)


def test_the_lowest_infinity_is_a_threshold_in_constant_mode():
    maps = np.full((1, 1, 4), -np.inf, np.float32)

    values = PixelMetrics(mode="constant").update(maps, [[[1, 0, 1, 1]]]).compute(thresholds=True)

    assert values["pixel_f1max_threshold"] == -np.inf


def test_a_curve_in_stretches_has_the_threshold_of_the_whole(monkeypatch):
    rng = np.random.default_rng(4)
    masks = random_masks(rng, 4, 20, 20)
    maps = INPUTS["random"](rng, masks)
    whole = PixelMetrics().update(maps, masks).compute(thresholds=True)
    monkeypatch.setattr("adbench.metrics.exact.STRETCH", 7)

    assert STRETCH > 7
    assert PixelMetrics().update(maps, masks).compute(thresholds=True) == pytest.approx(whole, abs=1e-12)
    assert ranking.f1_max(maps.ravel(), masks.ravel()) == whole["pixel_f1max"]
