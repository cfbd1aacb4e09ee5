"""The papers' 200-threshold AUPRO against its definition spelled out (the parity fixtures hold the authors' values)."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.metrics import PixelMetrics, aupro200
from metrics.reference import INPUTS, pro_curve, random_masks

KINDS = [kind for kind in INPUTS if kind not in ("constant", "half", "integer", "double")]


def spelled_out(maps, masks, thresholds):
    fprs, pros = pro_curve(maps, masks, thresholds, np.greater)
    kept = fprs < 0.3
    fprs, pros = fprs[kept], pros[kept]
    if len(fprs) < 2 or fprs.max() == fprs.min():
        return np.nan
    fprs = (fprs - fprs.min()) / (fprs.max() - fprs.min())
    return -np.sum(np.diff(fprs) * (pros[1:] + pros[:-1]) / 2)


def images(kind, seed):
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, 4, 20, 20)
    return INPUTS[kind](rng, masks), masks


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="spelled out with this NumPy's own arithmetic")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_numpy2_grid(kind, seed):
    maps, masks = images(kind, seed)
    low, high = maps.min(), maps.max()
    thresholds = np.arange(low, high, (high - low) / 200)

    ours = PixelMetrics().update(maps, masks).threshold_curve("numpy2").thresholds

    np.testing.assert_array_equal(ours, thresholds)
    # numpy.arange gives float64 scalars, compared as such
    expected = spelled_out(maps.astype(np.float64), masks, thresholds.astype(np.float64))
    assert aupro200(maps, masks, grid="numpy2") == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_numpy1_grid(kind, seed):
    maps, masks = images(kind, seed)
    low, extent = float(maps.min()), float(maps.max() - maps.min())
    step = extent / 200
    thresholds = low + np.arange(np.ceil(extent / step)) * ((low + step) - low)

    expected = spelled_out(maps, masks, thresholds.astype(np.float32))

    assert aupro200(maps, masks) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    ours = PixelMetrics(aupro200=True).update(maps, masks).compute()["pixel_aupro200"]
    assert ours == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_numpy2_compares_scores_with_unrounded_thresholds():
    rng = np.random.default_rng(0)
    masks = random_masks(rng, 4, 20, 20)
    maps = rng.random(masks.shape, np.float32)
    thresholds = PixelMetrics().update(maps, masks).threshold_curve("numpy2").thresholds
    inner = (maps > maps.min()) & (maps < maps.max())
    maps[inner] = rng.choice(thresholds[1:].astype(np.float32), inner.sum())  # scores that lie on rounded thresholds

    curve = PixelMetrics().update(maps, masks).threshold_curve("numpy2")

    fprs, pros = pro_curve(maps.astype(np.float64), masks, thresholds, np.greater)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    np.testing.assert_allclose(curve.fprs, fprs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve.pros, pros, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", ["numpy1", "numpy2"])
def test_undefined_without_a_range_of_scores_or_regions(grid):
    maps, masks = images("random", 0)

    assert np.isnan(aupro200(np.zeros_like(maps), masks, grid=grid))
    assert np.isnan(aupro200(np.where(masks, np.inf, maps), masks, grid=grid))
    assert np.isnan(aupro200(maps, np.zeros_like(masks), grid=grid))
    assert np.isnan(aupro200(maps, np.ones_like(masks), grid=grid))
    assert np.isnan(aupro200(maps[:0], masks[:0], grid=grid))


@pytest.mark.parametrize("grid", ["numpy1", "numpy2"])
def test_undefined_where_a_single_threshold_lies_below_the_limit(grid):
    maps = np.array([[[0.0, 1.0, 0.992, 0.992]]])  # thresholds up to 0.99 have FPR 1, the one above them 0
    assert np.isnan(aupro200(maps, np.array([[[1, 1, 0, 0]]]), grid=grid))


def test_scores_too_near_for_200_steps_of_their_type_have_no_thresholds():
    maps = np.array([[[0.0, 1e-45]]], np.float32)
    assert len(PixelMetrics().update(maps, maps > 0).threshold_curve("numpy2").thresholds) == 0
    assert len(PixelMetrics().update(maps * 0, maps > 0).threshold_curve("numpy2").thresholds) == 0
    assert np.isnan(aupro200(maps, maps > 0, grid="numpy2"))


@pytest.mark.parametrize("grid", ["numpy1", "numpy2"])
def test_steps_of_one(grid):
    maps = np.array([[[0.0, 60.0, 150.0, 200.0]]], np.float32)
    curve = PixelMetrics().update(maps, np.array([[[0, 0, 1, 1]]])).threshold_curve(grid)
    assert curve.thresholds.tolist() == list(range(200))
    assert curve.fprs.tolist() == [0.5] * 60 + [0.0] * 140
    assert curve.pros.tolist() == [1.0] * 150 + [0.5] * 50


def test_numpy1_compares_scores_with_rounded_thresholds():
    rng = np.random.default_rng(0)
    masks = random_masks(rng, 4, 20, 20)
    maps = rng.random(masks.shape, np.float32)
    thresholds = PixelMetrics().update(maps, masks).threshold_curve("numpy1").thresholds
    inner = (maps > maps.min()) & (maps < maps.max())
    maps[inner] = rng.choice(thresholds[1:].astype(np.float32), inner.sum())

    curve = PixelMetrics().update(maps, masks).threshold_curve("numpy1")

    fprs, pros = pro_curve(maps, masks, thresholds.astype(np.float32), np.greater)
    np.testing.assert_allclose(curve.fprs, fprs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve.pros, pros, rtol=0, atol=1e-12)
