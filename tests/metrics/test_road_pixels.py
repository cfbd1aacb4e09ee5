"""Pooled pixel metrics with ignored pixels against scikit-learn; the binned curve against its definition."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from adbench.errors import UserError
from adbench.metrics.road_pixels import BinnedCurve, RoadPixels, image_bins


def scene(seed: int, *, sizes=((20, 30), (20, 30), (14, 40)), ties: bool = False):
    """Maps and labels of several sizes; about a tenth anomalous, a fifth unknown (with NaN as its score)."""
    random = np.random.default_rng(seed)
    maps, labels = [], []
    for size in sizes:
        known = random.choice([0, 1, 255], size, p=[0.7, 0.1, 0.2]).astype(np.uint8)
        scores = random.normal(size=size) + (known == 1)
        scores = (scores.round(1) if ties else scores).astype(np.float32)
        scores[known == 255] = np.nan
        maps.append(scores)
        labels.append(known)
    return maps, labels


def pooled(maps, labels):
    scores, known = np.concatenate([m.ravel() for m in maps]), np.concatenate([x.ravel() for x in labels])
    return scores[known != 255].astype(np.float64), known[known != 255]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_exact_values_are_scikit_learns(seed: int, ties: bool) -> None:
    maps, labels = scene(seed, ties=ties)
    scores, known = pooled(maps, labels)
    fpr, tpr, thresholds = roc_curve(known, scores, drop_intermediate=False)
    at = int(np.argmax(tpr >= 0.95))

    curve = RoadPixels().update(maps, labels).curve()

    assert curve.ap == pytest.approx(average_precision_score(known, scores), abs=1e-12)
    assert curve.auroc == pytest.approx(roc_auc_score(known, scores), abs=1e-12)
    assert curve.fpr95 == pytest.approx(fpr[at], abs=1e-12)
    assert curve.threshold95 == thresholds[at]
    f1 = {t: 2 * (known[scores >= t]).sum() / (known.sum() + (scores >= t).sum()) for t in np.unique(scores)[::-1]}
    assert curve.best_f1 == pytest.approx(max(f1.values()), abs=1e-12)
    assert curve.best_threshold == next(t for t, value in f1.items() if value == max(f1.values()))


def test_recall_of_exactly_95_percent_is_enough() -> None:
    scores = np.arange(40, 0, -1, dtype=np.float32)[None, :] / 40
    labels = np.array([[1] * 19 + [0] * 20 + [1]], np.uint8)
    curve = RoadPixels().update([scores], [labels]).curve()
    assert (curve.fpr95, curve.threshold95) == (0.0, float(scores[0, 18]))


def test_of_equally_good_thresholds_the_largest_is_best() -> None:
    # 1 TP of 3: F1 2/4; 3 TP with 6 FP: F1 6/12, the same
    scores = np.array([[9.0] + [5.0] * 8]).astype(np.float32)
    labels = np.array([[1] + [1] * 2 + [0] * 6], np.uint8)
    for protocol in ("exact", "smiyc"):
        curve = RoadPixels(protocol=protocol).update([scores], [labels]).curve()
        assert curve.best_f1 == pytest.approx(0.5)
        assert curve.best_threshold == 9.0


@pytest.mark.parametrize("protocol", ["exact", "smiyc"])
@pytest.mark.parametrize("value", [0, 1, 255])
def test_one_label_only_leaves_everything_undefined(protocol: str, value: int) -> None:
    metrics = RoadPixels(protocol=protocol).update(
        np.random.default_rng(0).normal(size=(2, 4, 5)), np.full((2, 4, 5), value)
    )
    assert all(math.isnan(one) for one in metrics.compute().values())
    assert math.isnan(metrics.curve().best_threshold)


@pytest.mark.parametrize("protocol", ["exact", "smiyc"])
def test_nothing_at_all_is_undefined(protocol: str) -> None:
    assert all(math.isnan(one) for one in RoadPixels(protocol=protocol).compute().values())


@pytest.mark.parametrize("protocol", ["exact", "smiyc"])
def test_batches_shards_and_order_do_not_matter(protocol: str) -> None:
    maps, labels = scene(5, ties=True)
    whole = RoadPixels(protocol=protocol).update(maps, labels).curve()
    single = RoadPixels(protocol=protocol)
    for one, label in zip(reversed(maps), reversed(labels), strict=True):
        single.update([one], [label])
    first, second = RoadPixels(protocol=protocol).update(maps[:1], labels[:1]), RoadPixels(protocol=protocol)
    merged = first.merge(second.update(maps[1:], labels[1:]))
    assert single.curve() == whole == merged.curve()
    stacked = RoadPixels(protocol=protocol).update(np.stack(maps[:2]), np.stack(labels[:2]))
    assert stacked.curve() == RoadPixels(protocol=protocol).update(maps[:2], labels[:2]).curve()


def test_pixels_on_disk_give_the_same(tmp_path) -> None:
    maps, labels = scene(2, sizes=[(200, 300)] * 3)
    spilling = RoadPixels(memory_limit=1 << 17, spill_dir=tmp_path).update(maps, labels)
    assert list(tmp_path.iterdir())
    assert spilling.curve() == RoadPixels().update(maps, labels).curve()


def test_bad_input_is_refused() -> None:
    maps, labels = np.zeros((1, 2, 2)), np.zeros((1, 2, 2), np.uint8)
    with pytest.raises(UserError, match="other than 0, 1 and 255"):
        RoadPixels().update(maps, labels + 2)
    with pytest.raises(UserError, match=r"shape \(2, 2\) for a map of shape \(3, 2\)"):
        RoadPixels().update(np.zeros((1, 3, 2)), labels)
    with pytest.raises(UserError, match="1 maps but 2 label maps"):
        RoadPixels().update(maps, np.zeros((2, 2, 2)))
    with pytest.raises(UserError, match="1 of 4 scores are NaN"):
        RoadPixels().update(np.array([[[np.nan, 1], [1, 1]]]), labels)
    with pytest.raises(UserError, match="Did you mean 'smiyc'"):
        RoadPixels(protocol="smyic")
    with pytest.raises(UserError, match="cannot be merged"):
        RoadPixels().merge(RoadPixels(protocol="smiyc"))


# The binned curve


def test_bins_follow_the_quantiles_of_each_class() -> None:
    bins = image_bins(negatives=[0.0, 1.0, 2.0, 10.0], positives=[5.0, 7.0])
    # margin: 1 % of 10; at most as many quantiles as scores, so all scores are edges
    assert bins.thresholds.tolist() == [-0.1, 0.0, 1.0, 2.0, 5.0, 7.0, 10.0]
    assert bins.normal.tolist() == [0, 1, 1, 1, 0, 0, 1]
    assert bins.anomalous.tolist() == [0, 0, 0, 0, 1, 1, 0]


def test_quantiles_are_interpolated_and_evenly_spaced() -> None:
    bins = image_bins(negatives=[], positives=np.arange(101.0), bins=10)
    np.testing.assert_allclose(bins.thresholds, [-1.0, 0, 25, 50, 75, 100])
    assert bins.anomalous.tolist() == [0, 25, 25, 25, 25, 1]
    assert bins.normal.tolist() == [0] * 6


def test_the_margin_is_at_least_a_hundredth_and_constant_maps_work() -> None:
    bins = image_bins(negatives=[0.5, 0.5], positives=[0.5])
    np.testing.assert_allclose(bins.thresholds, [0.49, 0.5])
    assert (bins.normal.tolist(), bins.anomalous.tolist()) == ([0, 2], [0, 1])


def test_the_range_is_that_of_known_pixels() -> None:
    maps, labels = np.array([[[0.0, 1.0, 50.0]]]), np.array([[[0, 1, 255]]])
    metrics = RoadPixels(protocol="smiyc").update(maps, labels)
    np.testing.assert_allclose(metrics._pixels.images[0].thresholds, [-0.01, 0.0, 1.0])


def test_quantiles_are_computed_in_double_precision() -> None:
    values = np.float32([0.1, 0.2, 0.7])
    bins = image_bins(negatives=values, positives=[], bins=4)  # levels 0 and 1
    assert bins.thresholds.dtype == np.float64
    middle = image_bins(negatives=np.float32([0.1, 0.7]), positives=np.float32([0.1, 0.2, 0.7, 0.9]), bins=6)
    assert np.quantile(np.float64(np.float32([0.1, 0.2, 0.7, 0.9])), 0.5) in middle.thresholds


def test_of_repeated_thresholds_the_last_entry_counts_and_the_first_of_all_always() -> None:
    curve = BinnedCurve()
    for positives in ([1.0, 0.0], [1.0]):  # both images have bins at 1.0; the second also normal pixels there
        curve.add(np.float32([1.0, 0.0] if len(positives) == 1 else [0.0]), np.float32(positives))
    points = curve.points()
    # inf | 1.0 with one positive | 1.0 with both and the normal pixel | 0.0 | -0.01 twice, the last of them
    assert points["threshold"].tolist() == [np.inf, 1.0, 1.0, 0.0, -0.01]
    assert points["tp"].tolist() == [0, 1, 2, 3, 3]
    assert points["fp"].tolist() == [0, 0, 1, 3, 3]
    # precision 1 at recall 1/3, 2/3 at 2/3, 3/6 at 1
    assert curve.curve().ap == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert curve.curve().auroc == pytest.approx((1 / 3) * (1 / 3 + 2 / 3) / 2 + (2 / 3) * (2 / 3 + 1) / 2)


def test_both_protocols_agree_closely_on_one_image_of_many_pixels() -> None:
    maps, labels = scene(1, sizes=[(120, 160)])
    exact, binned = (RoadPixels(protocol=p).update(maps, labels).compute() for p in ("exact", "smiyc"))
    assert all(abs(exact[name] - binned[name]) < 0.005 for name in exact)
    assert exact != binned


def test_an_image_without_known_pixels_adds_nothing() -> None:
    maps, labels = scene(3)
    unknown = np.zeros((3, 3)), np.full((3, 3), 255)
    for protocol in ("exact", "smiyc"):
        alone = RoadPixels(protocol=protocol).update(maps, labels).curve()
        assert RoadPixels(protocol=protocol).update([*maps, unknown[0]], [*labels, unknown[1]]).curve() == alone


def test_saturated_maps_do_not_depend_on_the_order_of_images() -> None:
    labels = [np.array([[1, 0, 0]]), np.array([[0, 0, 1]]), np.array([[0, 1, 1]])]
    maps = [np.ones((1, 3), np.float32)] * 3
    curves = {
        RoadPixels(protocol="smiyc").update(maps, [labels[i] for i in order]).curve()
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0))
    }
    assert len(curves) == 1


def test_half_precision_maps_are_exact() -> None:
    maps, labels = scene(7)
    half = [one.astype(np.float16) for one in maps]
    assert (
        RoadPixels().update(half, labels).curve()
        == RoadPixels().update([h.astype(np.float32) for h in half], labels).curve()
    )
    assert pickle.loads(pickle.dumps(RoadPixels().update(half, labels).curve())).ap > 0
