"""sPRO and its area: an image, a channel and a threshold at a time, and what the definition says of its edges."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest

from adbench.errors import UserError
from adbench.metrics import aupro
from adbench.metrics.spro import Channel, Saturation, SproMetrics, auc_spro, spro
from metrics.reference import INPUTS, TOLERANCE, random_masks

WHOLE = Saturation(1.0, relative=True)
SATURATIONS = (WHOLE, Saturation(0.5, True), Saturation(0.25, True), Saturation(3, False), Saturation(10**6, False))


def random_channels(rng, n, height, width):
    """Overlapping defects of every kind of saturation; the first image is good."""
    channels = [[] for _ in range(n)]
    for image in range(1, n):
        for _ in range(rng.integers(1, 4)):
            mask = random_masks(rng, 2, height, width, n_regions=2)[1]
            channels[image].append(Channel(mask, SATURATIONS[rng.integers(len(SATURATIONS))]))
    return channels


def saturation_area(channel):
    threshold, relative = channel.saturation
    n_pixels = int(np.sum(channel.mask))
    return max(1, int(np.floor(threshold * n_pixels)) if relative else min(int(threshold), n_pixels))


def brute_force(maps, channels, limit):
    """Every distinct score and one below all as thresholds, score > t, trapezoids, the last cut at the limit."""
    maps = np.asarray(maps, np.float64)
    outside = [
        ~np.any([np.zeros(m.shape), *(c.mask for c in one)], axis=0) for m, one in zip(maps, channels, strict=True)
    ]
    points = []
    for threshold in [*np.unique(maps)[::-1], -np.inf]:
        found = maps > threshold
        fpr = sum(np.sum(f & o) for f, o in zip(found, outside, strict=True)) / np.sum(outside)
        overlaps = [
            min(np.sum(f & c.mask) / saturation_area(c), 1) for f, one in zip(found, channels, strict=True) for c in one
        ]
        points.append((fpr, np.mean(overlaps)))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 < limit and x1 > x0:
            stop = min(x1, limit)
            area += (stop - x0) * (y0 + (y0 + (y1 - y0) * (stop - x0) / (x1 - x0))) / 2
    return area / limit


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_area_equals_brute_force(name, limit):
    rng = np.random.default_rng([sum(map(ord, name)), 1])
    channels = random_channels(rng, 4, 9, 11)
    union = np.array([np.any([np.zeros((9, 11)), *(c.mask for c in one)], axis=0) for one in channels])
    maps = INPUTS[name](rng, union)

    assert auc_spro(maps, channels, limit) == pytest.approx(brute_force(maps, channels, limit), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("threshold", "relative", "n_pixels", "area"),
    [
        (0.25, True, 5, 1),
        (0.5, True, 5, 2),
        (0.5, True, 1, 1),  # rounds to 0: at least a pixel
        (1.0, True, 7, 7),
        (1, False, 7, 1),
        (40, False, 7, 7),  # more than there is: all of it
    ],
)
def test_saturation_is_rounded_down_to_at_least_one_pixel(threshold, relative, n_pixels, area):
    assert Saturation(threshold, relative).area(n_pixels) == area


def test_overlap_counts_scores_above_the_threshold_and_saturates():
    mask = np.array([[1, 1, 1, 1, 0]])
    scores = np.array([[0.9, 0.5, 0.5, 0.1, 1.0]])
    assert spro(scores, Channel(mask, WHOLE), 0.5) == 0.25  # not the two at the threshold
    assert spro(scores, Channel(mask, Saturation(0.5, True)), 0.1) == 1.0
    assert math.isnan(spro(scores, Channel(np.zeros_like(mask), WHOLE), 0.5))


def test_without_saturation_of_connected_defects_it_is_aupro():
    rng = np.random.default_rng(3)
    masks = np.zeros((3, 8, 8), bool)
    masks[1, 1:4, 1:4], masks[2, 5:7, 2:8] = True, True
    maps = rng.normal(size=masks.shape) + masks
    channels = [[], *([Channel(mask, WHOLE)] for mask in masks[1:])]
    assert auc_spro(maps, channels, 0.3) == pytest.approx(aupro(maps, masks, 0.3), abs=1e-12)


def test_a_channel_is_one_defect_whatever_its_components():
    mask = np.zeros((6, 6), bool)
    mask[0, 0], mask[4:6, 2:6] = True, True
    rng = np.random.default_rng(4)
    maps = rng.normal(size=(2, 6, 6))
    channels = [[], [Channel(mask, WHOLE)]]
    assert auc_spro(maps, channels, 1.0) == pytest.approx(brute_force(maps, channels, 1.0), abs=TOLERANCE)
    assert auc_spro(maps, channels, 1.0) != pytest.approx(aupro(maps, [mask * False, mask], 1.0), abs=1e-3)


def test_parts_merge_to_the_same_bits_in_any_order():
    rng = np.random.default_rng(5)
    channels = random_channels(rng, 6, 16, 16)
    maps = np.round(rng.normal(size=(6, 16, 16)), 1).astype(np.float32)
    whole = SproMetrics().update(maps, channels).compute()

    parts = [SproMetrics(memory_limit=0).update([maps[i]], [channels[i]]) for i in (4, 1, 5, 0)]
    rest = SproMetrics().update(maps[2:4], channels[2:4])
    merged = SproMetrics()
    for part in [*parts, pickle.loads(pickle.dumps(rest))]:
        merged.merge(part)
    assert merged.compute() == whole


def test_undefined_without_channels_or_without_a_pixel_outside_of_them():
    maps = np.random.default_rng(6).random((2, 4, 4))
    assert math.isnan(auc_spro(maps, [[], []]))
    assert math.isnan(auc_spro(maps, [[Channel(np.ones((4, 4)), WHOLE)]] * 2))
    assert math.isnan(auc_spro(maps, [[Channel(np.zeros((4, 4)), WHOLE)], []]))  # a channel that marks nothing


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([[], []], "1 maps but channels of 2 images"),
        ([[Channel(np.ones((2, 2)), WHOLE)]], "a channel of shape"),
        ([[Channel(np.ones((4, 4)), Saturation(1.5, True))]], "relative saturation of 1.5"),
        ([[Channel(np.ones((4, 4)), Saturation(0, False))]], "absolute saturation of 0"),
    ],
)
def test_bad_channels_are_refused_and_nothing_is_taken_in(channels, message):
    metrics = SproMetrics()
    with pytest.raises(UserError, match=message):
        metrics.update(np.zeros((1, 4, 4)), channels)
    assert metrics._pixels.negatives.size == 0
    with pytest.raises(UserError, match="limit"):
        SproMetrics(limit=0)
