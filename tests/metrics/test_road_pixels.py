"""Pooled pixel metrics with ignored pixels against scikit-learn; the binned curve against its definition."""

from __future__ import annotations

import math
import pickle
import tempfile
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from adbench.errors import UserError
from adbench.metrics.inputs import labelled_images
from adbench.metrics.road_pixels import binned_points, image_bins, road_curve


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


def curve_of(maps, labels, **settings):
    return road_curve(labelled_images(maps, labels), **settings)


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

    curve = curve_of(maps, labels)

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
    curve = curve_of([scores], [labels])
    assert (curve.fpr95, curve.threshold95) == (0.0, float(scores[0, 18]))


def test_of_equally_good_thresholds_the_largest_is_best() -> None:
    # 1 TP of 3: F1 2/4; 3 TP with 6 FP: F1 6/12, the same
    scores = np.array([[9.0] + [5.0] * 8]).astype(np.float32)
    labels = np.array([[1] + [1] * 2 + [0] * 6], np.uint8)
    for protocol in ("exact", "smiyc"):
        curve = curve_of([scores], [labels], protocol=protocol)
        assert curve.best_f1 == pytest.approx(0.5)
        assert curve.best_threshold == 9.0


@pytest.mark.parametrize("protocol", ["exact", "smiyc"])
@pytest.mark.parametrize("value", [0, 1, 255])
def test_one_label_only_leaves_everything_undefined(protocol: str, value: int) -> None:
    maps, labels = np.random.default_rng(0).normal(size=(2, 4, 5)), np.full((2, 4, 5), value)
    curve = curve_of(maps, labels, protocol=protocol)
    assert all(math.isnan(number) for number in asdict(curve).values())


@pytest.mark.parametrize("protocol", ["exact", "smiyc"])
def test_nothing_at_all_is_undefined(protocol: str) -> None:
    assert all(math.isnan(number) for number in asdict(road_curve([], protocol)).values())


@pytest.mark.parametrize("protocol", ["exact", "smiyc"])
def test_batches_and_order_do_not_matter(protocol: str) -> None:
    maps, labels = scene(5, ties=True)
    whole = curve_of(maps, labels, protocol=protocol)
    assert curve_of(maps[::-1], labels[::-1], protocol=protocol) == whole
    stacked = curve_of(np.stack(maps[:2]), np.stack(labels[:2]), protocol=protocol)
    assert stacked == curve_of(maps[:2], labels[:2], protocol=protocol)


def test_pixels_on_disk_give_the_same(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    maps, labels = scene(2, sizes=[(200, 300)] * 3)
    files = []

    def images():
        yield from labelled_images(maps, labels)
        files.extend(tmp_path.iterdir())

    assert road_curve(images(), memory_limit=1 << 17) == curve_of(maps, labels)
    assert files


def test_bad_input_is_refused() -> None:
    maps, labels = np.zeros((1, 2, 2)), np.zeros((1, 2, 2), np.uint8)
    with pytest.raises(UserError, match="other than 0, 1 and 255"):
        curve_of(maps, labels + 2)
    with pytest.raises(UserError, match=r"shape \(2, 2\) for a map of shape \(3, 2\)"):
        curve_of(np.zeros((1, 3, 2)), labels)
    with pytest.raises(UserError, match="1 maps but 2 label maps"):
        curve_of(maps, np.zeros((2, 2, 2)))
    with pytest.raises(UserError, match="1 of 4 scores are NaN"):
        curve_of(np.array([[[np.nan, 1], [1, 1]]]), labels)


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
    assert curve_of(maps, labels, protocol="smiyc").threshold95 == 1.0
    assert curve_of(maps, labels, protocol="smiyc") == curve_of(maps[..., :2], labels[..., :2], protocol="smiyc")


def test_quantiles_are_computed_in_double_precision() -> None:
    values = np.float32([0.1, 0.2, 0.7])
    bins = image_bins(negatives=values, positives=[], bins=4)  # levels 0 and 1
    assert bins.thresholds.dtype == np.float64
    middle = image_bins(negatives=np.float32([0.1, 0.7]), positives=np.float32([0.1, 0.2, 0.7, 0.9]), bins=6)
    assert np.quantile(np.float64(np.float32([0.1, 0.2, 0.7, 0.9])), 0.5) in middle.thresholds


def test_of_repeated_thresholds_the_last_entry_counts_and_the_first_of_all_always() -> None:
    # both images have bins at 1.0; the second also normal pixels there
    images = [image_bins([0.0], [1.0, 0.0]), image_bins([1.0, 0.0], [1.0])]
    thresholds, tp, fp = binned_points(images)
    # inf | 1.0 with one positive | 1.0 with both and the normal pixel | 0.0 | -0.01 twice, the last of them
    assert thresholds.tolist() == [np.inf, 1.0, 1.0, 0.0, -0.01]
    assert tp.tolist() == [0, 1, 2, 3, 3]
    assert fp.tolist() == [0, 0, 1, 3, 3]
    # precision 1 at recall 1/3, 2/3 at 2/3, 3/6 at 1
    curve = curve_of([[[1.0, 0.0, 0.0]], [[1.0, 0.0, 1.0]]], [[[1, 1, 0]], [[0, 0, 1]]], protocol="smiyc")
    assert curve.ap == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert curve.auroc == pytest.approx((1 / 3) * (1 / 3 + 2 / 3) / 2 + (2 / 3) * (2 / 3 + 1) / 2)


def test_both_protocols_agree_closely_on_one_image_of_many_pixels() -> None:
    maps, labels = scene(1, sizes=[(120, 160)])
    exact, binned = (asdict(curve_of(maps, labels, protocol=p)) for p in ("exact", "smiyc"))
    assert all(abs(exact[name] - binned[name]) < 0.005 for name in ("ap", "auroc", "fpr95"))
    assert exact != binned


def test_an_image_without_known_pixels_adds_nothing() -> None:
    maps, labels = scene(3)
    unknown = np.zeros((3, 3)), np.full((3, 3), 255)
    for protocol in ("exact", "smiyc"):
        alone = curve_of(maps, labels, protocol=protocol)
        assert curve_of([*maps, unknown[0]], [*labels, unknown[1]], protocol=protocol) == alone


def test_saturated_maps_do_not_depend_on_the_order_of_images() -> None:
    labels = [np.array([[1, 0, 0]]), np.array([[0, 0, 1]]), np.array([[0, 1, 1]])]
    maps = [np.ones((1, 3), np.float32)] * 3
    curves = {
        curve_of(maps, [labels[i] for i in order], protocol="smiyc") for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0))
    }
    assert len(curves) == 1


def test_half_precision_maps_are_exact() -> None:
    maps, labels = scene(7)
    half = [one.astype(np.float16) for one in maps]
    assert curve_of(half, labels) == curve_of([h.astype(np.float32) for h in half], labels)
    assert pickle.loads(pickle.dumps(curve_of(half, labels))).ap > 0
