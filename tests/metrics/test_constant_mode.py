"""The constant-memory mode: its values lie within the bounds it reports, whatever the scores."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.metrics import PixelMetrics
from adbench.metrics.binned import N_BINS, bins
from metrics.reference import INPUTS, random_masks


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", INPUTS)
def test_within_its_bounds(kind, seed, limit):
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, 5, 40, 40)
    maps = INPUTS[kind](rng, masks)

    exact = PixelMetrics(aupro_limit=limit).update(maps, masks).compute()
    metrics = PixelMetrics(aupro_limit=limit, mode="constant").update(maps, masks)
    values, bounds = metrics.compute(), metrics.error_bounds()

    for name, value in values.items():
        assert abs(value - exact[name]) <= bounds[name] + 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_bounds_hold_where_whole_classes_share_a_bin(seed):
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, 3, 12, 12)
    # a handful of bins, each holding many different scores of both classes
    maps = (2.0 ** rng.integers(0, 3, masks.shape) * (1 + 1e-5 * (rng.random(masks.shape) + 0.3 * masks))).astype(
        np.float32
    )

    exact = PixelMetrics().update(maps, masks).compute()
    metrics = PixelMetrics(mode="constant").update(maps, masks)
    values, bounds = metrics.compute(), metrics.error_bounds()

    assert max(abs(values[name] - exact[name]) for name in exact) > 1e-3  # binning does lose something here
    for name, value in values.items():
        assert abs(value - exact[name]) <= bounds[name] + 1e-12


def test_bounds_are_small_where_scores_pile_up_near_zero():
    rng = np.random.default_rng(0)
    masks = random_masks(rng, 8, 64, 64)
    maps = INPUTS["near_zero"](rng, masks)

    bounds = PixelMetrics(mode="constant").update(maps, masks).error_bounds()

    assert 0 < max(bounds.values()) < 5e-3


def test_the_exact_mode_reports_no_error():
    rng = np.random.default_rng(0)
    masks = random_masks(rng, 3, 16, 16)

    bounds = PixelMetrics().update(INPUTS["random"](rng, masks), masks).error_bounds()

    assert set(bounds.values()) == {0.0}


def test_merged_counts_equal_one_count():
    rng = np.random.default_rng(1)
    masks = random_masks(rng, 6, 16, 16)
    maps = INPUTS["random"](rng, masks)
    whole = PixelMetrics(mode="constant").update(maps, masks).compute()

    parts = [PixelMetrics(mode="constant").update(maps[i], masks[i]) for i in (slice(0, 2), slice(2, 6))]

    assert parts[0].merge(parts[1]).compute() == pytest.approx(whole, abs=1e-12, rel=0)


def test_bins_keep_the_order_of_scores():
    rng = np.random.default_rng(2)
    scores = np.sort(
        np.concatenate([rng.normal(size=1000) * 10.0 ** rng.integers(-40, 38, 1000), [np.inf, -np.inf, 0.0, -0.0]])
    )

    found = bins(scores).astype(np.int64)

    assert np.all(np.diff(found) >= 0)
    assert found.min() >= 0
    assert found.max() < N_BINS
    assert bins(np.array([-0.0], np.float32)) == bins(np.array([0.0], np.float32))


def test_auto_is_exact_up_to_its_limit_and_counts_in_bins_from_there_on():
    rng = np.random.default_rng(0)
    masks = random_masks(rng, 8, 24, 24)
    maps = INPUTS["near_zero"](rng, masks)
    n_bytes = 4 * int((masks == 0).sum()) + 8 * int((masks > 0).sum())
    exact, binned = (PixelMetrics(mode=mode).update(maps, masks) for mode in ("exact", "constant"))

    fits = PixelMetrics(mode="auto", exact_limit=n_bytes).update(maps, masks)
    assert (fits.mode, fits.compute()) == ("exact", exact.compute())

    whole, single = (
        PixelMetrics(mode="auto", exact_limit=n_bytes - 1),
        PixelMetrics(mode="auto", exact_limit=n_bytes - 1),
    )
    whole.update(maps, masks)
    for scores, mask in zip(maps, masks, strict=True):
        single.update(scores[None], mask[None])
    for metrics in (whole, single):
        assert metrics.mode == "constant"
        assert metrics.compute() == pytest.approx(binned.compute(), abs=1e-12)
        assert metrics.error_bounds() == pytest.approx(binned.error_bounds(), abs=1e-12)


@pytest.mark.parametrize("cut", [1, 4, 7])
@pytest.mark.parametrize("limit", [0, 6_000, 14_000, 1 << 20])
def test_shards_of_auto_together_decide(cut, limit):
    rng = np.random.default_rng(1)
    masks = random_masks(rng, 8, 24, 24)
    maps = INPUTS["random"](rng, masks)

    whole = PixelMetrics(mode="auto", exact_limit=limit).update(maps, masks)
    first, second = (
        PixelMetrics(mode="auto", exact_limit=limit, memory_limit=1 << 17).update(maps[part], masks[part])
        for part in (slice(cut), slice(cut, None))
    )
    assert first.merge(second).mode == whole.mode
    assert first.compute() == pytest.approx(whole.compute(), abs=1e-12)
    assert whole.mode == ("exact" if limit > 1 << 17 else "constant")


def test_auto_keeps_every_score_where_a_metric_needs_them():
    maps, masks = np.random.default_rng(2).random((2, 8, 8), np.float32), np.eye(8, dtype=bool)[None].repeat(2, 0)

    metrics = PixelMetrics(mode="auto", exact_limit=0, aupro200=True).update(maps, masks)

    assert metrics.mode == "exact"
    assert metrics.compute() == PixelMetrics(aupro200=True).update(maps, masks).compute()
