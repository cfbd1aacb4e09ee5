"""The thinned PRO curve: where it is not thinned it is the curve, where it is it looks the same."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc

from adbench.metrics import PixelMetrics


def made(maps, masks, **settings):
    points = []
    metrics = PixelMetrics(**settings).update(maps, masks)
    return points, metrics.compute(pro=points)


def test_every_point_of_a_small_curve():
    maps = np.array([[[0.9, 0.8, 0.1, 0.7], [0.6, 0.2, 0.3, 0.7]]], np.float32)
    masks = np.array([[[1, 0, 0, 1], [0, 0, 0, 0]]], np.uint8)  # two regions of one pixel; 6 normal ones
    points, _ = made(maps, masks, aupro_limit=1.0)
    assert points[0] == (0.0, 0.0)
    assert (0.0, 0.5) in points
    assert points[-1] == (1.0, 1.0)
    # at 0.7 the second region is found together with one of the normal pixels: a slope from (1/6, 0.5) to (2/6, 1)
    assert any(point == pytest.approx((1 / 6, 0.5)) for point in points)
    assert any(point == pytest.approx((2 / 6, 1.0)) for point in points)


@pytest.mark.parametrize("mode", ["exact", "constant"])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_the_area_below_is_aupro(mode, limit):
    random = np.random.default_rng(0)
    masks = np.zeros((6, 60, 60), np.uint8)
    masks[:3, 10:30, 10:20] = masks[1:4, 40:50, 40:55] = 1
    maps = (random.normal(size=masks.shape) + 1.5 * masks).astype(np.float32)
    points, metrics = made(maps, masks, mode=mode, aupro_limit=limit)
    x, y = np.array(points).T
    assert len(points) <= 2 * 200 + 3
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    assert x[-1] == pytest.approx(limit)
    assert auc(x, y) / limit == pytest.approx(metrics["pixel_aupro"], abs=2e-3)


def test_a_curve_that_ends_before_the_limit_goes_on_at_one():
    maps = np.array([[[0.9, 0.1, 0.2, 0.3]]], np.float32)
    points, metrics = made(maps, np.array([[[1, 0, 0, 0]]], np.uint8))
    assert points == [(0.0, 0.0), (0.0, 1.0), (0.0, 1.0), (0.3, 1.0)]
    assert metrics["pixel_aupro"] == 1.0


def test_there_is_no_curve_without_anomalous_pixels():
    points, _ = made(np.ones((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.uint8))
    assert points == []
