"""AUPIMO: both forms threshold by threshold, where they are undefined, and what is said of them."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from adbench.errors import UserError
from adbench.metrics.aupimo import AupimoMetrics
from metrics.reference import INPUTS, TOLERANCE, random_masks


def shared_fpr(maps, masks, threshold):
    """The mean over normal images of each one's own share."""
    return np.mean([np.mean(m >= threshold) for m, mask in zip(maps, masks, strict=True) if not np.any(mask)])


def brute_force_official(maps, masks, bounds, n_thresholds):
    normal = [m for m, mask in zip(maps, masks, strict=True) if not np.any(mask)]
    low, high = min(m.min() for m in normal), max(m.max() for m in normal)
    thresholds = np.linspace(low, high, n_thresholds).astype(normal[0].dtype)
    fprs = np.array([shared_fpr(maps, masks, t) for t in thresholds])
    first, last = np.argmin(np.abs(fprs - bounds[1])), np.argmin(np.abs(fprs - bounds[0]))
    values = []
    for scores, mask in zip(maps, masks, strict=True):
        if np.any(mask):
            recalls = np.array([np.mean(scores[mask] >= t) for t in thresholds[first : last + 1]])
            area = np.trapezoid(recalls[::-1], np.log(fprs[first : last + 1])[::-1])
            values.append(np.clip(area / np.log(bounds[1] / bounds[0]), 0, 1))
    return np.array(values)


def brute_force_exact(maps, masks, bounds):
    """Straight lines over ln F between the distinct normal scores, cut at the bounds by a fine ruler of their own."""
    low, high = np.log(bounds)
    scores = np.unique(np.concatenate([m.ravel() for m, k in zip(maps, masks, strict=True) if not np.any(k)]))[::-1]
    at = np.log([shared_fpr(maps, masks, s) for s in scores])
    values = []
    for image, mask in zip(maps, masks, strict=True):
        if not np.any(mask):
            continue
        area = 0.0
        for k in range(len(scores) - 1):
            y0, y1 = np.mean(image[mask] > scores[k + 1]), np.mean(image[mask] >= scores[k + 1])
            left, right = max(at[k], low), min(at[k + 1], high)
            if right > left:
                ends = [y0 + (y1 - y0) * (x - at[k]) / (at[k + 1] - at[k]) for x in (left, right)]
                area += (right - left) * sum(ends) / 2
        values.append(area / (high - low))
    return np.array(values)


def as_seen(maps):
    """Half precision as float32, other kinds of number as they are computed with."""
    return maps.astype(np.float64 if maps.dtype == np.float64 else np.float32)


@pytest.mark.parametrize("name", [name for name in INPUTS if name != "constant"])
def test_both_forms_equal_brute_force(name):
    rng = np.random.default_rng([sum(map(ord, name)), 2])
    masks = random_masks(rng, 6, 10, 12)
    masks[3] = False
    maps = INPUTS[name](rng, masks)
    bounds = (0.01, 0.5) if name not in ("few_values", "signed_zeros") else (0.3, 0.9)

    metrics = AupimoMetrics(bounds=bounds, n_thresholds=700).update(maps, masks)

    expected = brute_force_official(as_seen(maps), masks, bounds, 700)
    np.testing.assert_allclose(metrics.per_image(), expected, atol=TOLERANCE)
    exact = brute_force_exact(as_seen(maps), masks, bounds)
    np.testing.assert_allclose(metrics.per_image_exact(), exact, atol=TOLERANCE)


def test_the_shared_rate_is_a_mean_over_images_not_over_pixels():
    rng = np.random.default_rng(3)
    maps = [rng.normal(size=size) for size in [(8, 8), (16, 20), (5, 4), (12, 12), (9, 9)]]
    masks = [np.zeros(m.shape, bool) for m in maps]
    masks[3][2:6, 3:9], masks[4][0, :4] = True, True
    bounds = (0.02, 0.4)

    metrics = AupimoMetrics(bounds=bounds, n_thresholds=2000).update(maps, masks)

    np.testing.assert_allclose(metrics.per_image(), brute_force_official(maps, masks, bounds, 2000), atol=TOLERANCE)
    np.testing.assert_allclose(metrics.per_image_exact(), brute_force_exact(maps, masks, bounds), atol=TOLERANCE)


def test_many_thresholds_come_to_the_exact_form():
    rng = np.random.default_rng(4)
    masks = random_masks(rng, 8, 32, 32)
    masks[:5] = False
    maps = rng.random(masks.shape) + 0.5 * masks
    bounds = (100 / (5 * 1024), 1000 / (5 * 1024))  # both within reach

    values = AupimoMetrics(bounds=bounds).update(maps, masks).compute()
    assert values["pixel_aupimo"] == pytest.approx(values["pixel_aupimo_exact"], abs=2e-3)


def test_parts_merge_to_the_same_bits_in_any_order():
    rng = np.random.default_rng(5)
    masks = random_masks(rng, 8, 16, 16)
    masks[5] = False
    maps = np.round(rng.normal(size=masks.shape) + masks, 1).astype(np.float32)
    settings = {"bounds": (0.01, 0.3), "n_thresholds": 3000}
    whole = AupimoMetrics(**settings).update(maps, masks)

    merged = AupimoMetrics(**settings, memory_limit=0)
    for part in (slice(6, 8), slice(0, 2), slice(2, 6)):
        other = AupimoMetrics(**settings).update(maps[part], masks[part])
        merged.merge(pickle.loads(pickle.dumps(other)))
    assert merged.compute() == whole.compute()
    assert merged.notes() == whole.notes()


def reason_of(maps, masks, **settings):
    metrics = AupimoMetrics(**settings).update(maps, masks)
    values, notes = metrics.compute(), metrics.notes()
    assert math.isnan(values["pixel_aupimo"])
    assert len(notes) == 1
    return values["pixel_aupimo_exact"], notes[0]


def test_undefined_says_why():
    rng = np.random.default_rng(6)
    maps, masks = rng.random((4, 8, 8)), np.zeros((4, 8, 8), bool)
    masks[2:, 1:3, 1:3] = True
    wide = {"bounds": (0.05, 0.5), "n_thresholds": 1000}

    assert "no anomalous images" in reason_of(maps[:2], masks[:2])[1]
    assert "no normal images" in reason_of(maps[2:], masks[2:])[1]
    exact, note = reason_of(maps, masks)  # 128 normal pixels are too few for 1e-5
    assert math.isnan(exact)
    assert "smallest shared FPR above 0 is 0.00781" in note
    assert "smallest shared FPR above 0 is 1" in reason_of(np.full_like(maps, 0.5), masks, **wide)[1]
    assert "infinite" in reason_of(np.where(masks, maps, np.inf), masks, **wide)[1]


def test_an_outlier_costs_the_official_form_its_points_not_the_exact_one():
    rng = np.random.default_rng(7)
    maps, masks = rng.random((4, 32, 32)), np.zeros((4, 32, 32), bool)
    masks[2:, 1:9, 1:9] = True
    maps[masks] += 0.3
    maps[0, 0, 0] = 1e9

    exact, note = reason_of(maps, masks, bounds=(0.01, 0.1), n_thresholds=10_000)
    assert "of 10000 thresholds lie in the range" in note
    assert 0 < exact < 1


def test_the_official_form_takes_31_thresholds_and_a_smallest_rate_at_the_bound():
    """Of 64 evenly spaced normal scores the threshold k from the top has a shared FPR of k / 64."""
    maps, masks = np.zeros((2, 8, 8)), np.zeros((2, 8, 8), bool)
    maps[0] = np.arange(64).reshape(8, 8)
    maps[1], masks[1, 0] = 70.0, True
    enough, few = (AupimoMetrics(bounds=(lower / 64, 32 / 64), n_thresholds=64).update(maps, masks) for lower in (2, 3))
    assert enough.compute()["pixel_aupimo"] == pytest.approx(1.0)
    assert enough.notes()[0].endswith(", on 31 thresholds only")
    assert "30 of 64 thresholds lie in the range" in reason_of(maps, masks, bounds=(3 / 64, 0.5), n_thresholds=64)[1]
    assert len(few.grid().fprs) == 30
    lowest = AupimoMetrics(bounds=(1 / 64, 32 / 64), n_thresholds=64).update(maps, masks)
    assert lowest.compute()["pixel_aupimo"] == pytest.approx(1.0)
    assert "smallest shared FPR above 0" in reason_of(maps, masks, bounds=(0.9 / 64, 0.5), n_thresholds=64)[1]


def test_notes_tell_pixels_and_reached_bounds():
    rng = np.random.default_rng(8)
    maps, masks = rng.random((3, 64, 64)), np.zeros((3, 64, 64), bool)
    masks[2, :8] = True
    note = AupimoMetrics(bounds=(1e-3, 1e-1)).update(maps, masks).notes()[0]
    assert (
        note == "pixel_aupimo: 8192 normal pixels of 2 images, shared FPR from 0.000977 to 0.1 reached of 0.001 to 0.1"
    )


@pytest.mark.parametrize("settings", [{"bounds": (0, 0.1)}, {"bounds": (0.1, 0.1)}, {"n_thresholds": 1}])
def test_bad_settings(settings):
    with pytest.raises(UserError):
        AupimoMetrics(**settings)
