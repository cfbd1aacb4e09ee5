"""Bootstrap and DeLong against definitions spelled out: every draw repeated image by image, every pair compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from adbench.errors import UserError
from adbench.metrics import auroc, average_precision, f1_max
from adbench.metrics.intervals import (
    METRICS,
    bootstrap,
    bootstrap_p,
    delong,
    delong_interval,
    delong_paired,
    holm,
    interval,
    resamples,
)

FORMULAS = dict(zip(METRICS, (auroc, average_precision, f1_max), strict=True))


def stream(seed=7):
    return np.random.default_rng(seed)


def images(kind, n=30, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 == 0
    scores = {
        "random": lambda: rng.normal(labels),
        "tied": lambda: np.round(rng.normal(labels), 0),
        "constant": lambda: np.full(n, 0.5),
        "perfect": lambda: labels + rng.random(n) / 2,
        "inverted": lambda: rng.random(n) / 2 - labels,
        "single_precision": lambda: rng.normal(labels).astype(np.float32),
        "infinite": lambda: np.where(rng.random(n) < 0.2, np.inf, rng.normal(labels)),
    }[kind]()
    return scores, labels


KINDS = ("random", "tied", "constant", "perfect", "inverted", "single_precision", "infinite")


@pytest.mark.parametrize("kind", KINDS)
def test_every_draw_gives_the_metric_of_the_repeated_images(kind):
    scores, labels = images(kind)
    other = images("random", seed=1)[0]
    weights = np.concatenate(list(resamples(labels, stream(), n=60)))

    values = bootstrap([scores, other], labels, stream(), n=60)

    for metric, formula in FORMULAS.items():
        for row, one in enumerate((scores, other)):
            expected = [formula(np.repeat(one, w), np.repeat(labels, w)) for w in weights]
            assert values[metric][row] == pytest.approx(expected, abs=1e-12)


def test_each_draw_has_as_many_images_of_either_label_as_there_are():
    labels = np.arange(10) < 3
    weights = np.concatenate(list(resamples(labels, stream(), n=4000)))

    assert weights.shape == (4000, 10)
    assert (weights[:, labels].sum(axis=1) == 3).all()
    assert (weights[:, ~labels].sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(10), abs=0.06)
    assert weights.var(axis=0)[5] == pytest.approx(1 - 1 / 7, abs=0.08)  # of a multinomial count


def test_draws_do_not_depend_on_how_they_are_cut_into_blocks(monkeypatch):
    labels = np.arange(50) % 2
    whole = np.concatenate(list(resamples(labels, stream(), n=30)))
    monkeypatch.setattr("adbench.metrics.intervals._BLOCK", 200)

    blocks = list(resamples(labels, stream(), n=30))
    assert len(blocks) > 5
    assert (np.concatenate(blocks) == whole).all()


def test_the_same_seed_gives_the_same_interval():
    scores, labels = images("random")

    first, again, other = (bootstrap([scores], labels, stream(seed))["image_auroc"][0] for seed in (1, 1, 2))
    assert (first == again).all()
    assert interval(first) != interval(other)


def test_the_interval_lies_between_the_percentiles():
    values = np.arange(1001) / 1000

    assert interval(values) == (0.025, 0.975)
    assert interval(np.append(values, np.nan)) == (0.025, 0.975)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, truth = np.random.default_rng(0), norm.cdf(1 / math.sqrt(2))  # of normal scores one deviation apart
    labels, covered = np.arange(80) < 40, []
    for seed in range(200):
        low, high = interval(bootstrap([rng.normal(labels)], labels, stream(seed), n=300)["image_auroc"][0])
        covered.append(low <= truth <= high)
    assert 0.88 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], []])
def test_one_label_only_is_undefined(labels):
    scores = np.arange(len(labels)) / 10

    values = bootstrap([scores, scores], labels, stream(), n=5)
    for metric in METRICS:
        assert values[metric].shape == (2, 5)
        assert np.isnan(values[metric]).all()
    assert np.isnan(interval(values["image_ap"][0])).all()
    assert math.isnan(bootstrap_p(values["image_ap"][0]))
    assert np.isnan(delong(scores, labels)).all()
    assert np.isnan(delong_interval(scores, labels)).all()
    assert np.isnan(delong_paired(scores, scores, labels)).all()


def test_a_perfect_order_stays_perfect_in_every_draw():
    scores, labels = images("perfect")

    assert interval(bootstrap([scores], labels, stream())["image_auroc"][0]) == (1.0, 1.0)
    assert np.isnan(delong_interval(scores, labels)).all()
    assert delong(scores, labels) == (1.0, 0.0)


def test_clusters_are_drawn_whole():
    labels = np.array([0, 1, 0, 0, 0, 0, 1, 1])
    clusters = ["a", "a", "b", "b", "c", "c", "d", "d"]
    weights = np.concatenate(list(resamples(labels, stream(), n=500, clusters=clusters)))

    assert (weights[:, 0::2] == weights[:, 1::2]).all()
    assert (weights[:, 0] + weights[:, 6] == 2).all()  # those with an anomalous image, and those without
    assert (weights[:, 2] + weights[:, 4] == 2).all()
    values = bootstrap([np.arange(8.0)], labels, stream(), n=500, clusters=clusters)["image_auroc"][0]
    expected = [auroc(np.repeat(np.arange(8.0), w), np.repeat(labels, w)) for w in weights]
    assert values == pytest.approx(expected, abs=1e-12)


def test_a_draw_of_clusters_without_normal_images_is_left_out():
    values = bootstrap([[0.1, 0.2, 0.3]], [0, 1, 1], stream(), n=200, clusters=[0, 0, 1])["image_auroc"][0]

    assert 20 < np.isnan(values).sum() < 180
    assert interval(values) == (1.0, 1.0)


# Recorded with confidenceinterval 1.0.5 (midranks in single precision): labels, scores, AUROC, variance
RECORDED = [
    (
        [1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0],
        [
            *(4.10546875, 2.953125, 3.302734375, 4.77734375, 5.38671875, 3.408203125, 3.9375, 3.865234375),
            *(7.06640625, 3.4296875, 4.4609375, 3.888671875, 4.3671875, 4.15234375, 3.53515625),
        ],
        0.8600000739097595,
        0.011199999141693161,
    ),
    ([0, 1, 1, 1, 0, 1, 0, 1, 0], [0.75, *[0.875] * 6, 1.0, 1.0], 0.5750000476837158, 0.0395833316445351),
]


@pytest.mark.parametrize(("labels", "scores", "area", "variance"), RECORDED)
def test_delong_gives_what_others_compute(labels, scores, area, variance):
    assert delong(scores, labels) == pytest.approx((area, variance), abs=1e-7)


def by_definition(scores, labels):
    """V10 and V01 by comparing every pair."""
    x, y = scores[labels][:, None], scores[~labels][None]
    psi = (x > y) + 0.5 * (x == y)
    return psi.mean(axis=1), psi.mean(axis=0)


@pytest.mark.parametrize("kind", KINDS)
def test_delong_is_the_variance_of_the_shares_of_pairs(kind):
    scores, labels = images(kind)
    v10, v01 = by_definition(scores, labels)

    area, variance = delong(scores, labels)

    assert area == pytest.approx(auroc(scores, labels), abs=1e-12)
    assert variance == pytest.approx(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01), abs=1e-12)


def test_the_logit_interval():
    scores, labels = images("random")
    area, variance = delong(scores, labels)
    ends = np.log(area / (1 - area)) + np.array([-1.96, 1.96]) * np.sqrt(variance) / (area * (1 - area))

    assert delong_interval(scores, labels) == pytest.approx(1 / (1 + np.exp(-ends)), abs=1e-12)
    assert delong_interval(scores, labels)[0] < area < delong_interval(scores, labels)[1]


@pytest.mark.parametrize("kind", ["random", "tied", "perfect", "constant"])
def test_paired_delong_takes_the_covariance_into_account(kind):
    (first, labels), (second, _) = images("random"), images(kind, seed=5)
    a10, a01 = by_definition(first, labels)
    b10, b01 = by_definition(second, labels)
    m, n = len(a10), len(a01)
    covariance = np.cov(a10, b10)[0, 1] / m + np.cov(a01, b01)[0, 1] / n
    variance = delong(first, labels).variance + delong(second, labels).variance - 2 * covariance

    difference, z, p = delong_paired(first, second, labels)

    assert difference == pytest.approx(auroc(second, labels) - auroc(first, labels), abs=1e-12)
    assert z == pytest.approx(difference / math.sqrt(variance), rel=1e-9)
    assert p == pytest.approx(2 * norm.sf(abs(z)), rel=1e-9)
    assert delong_paired(second, first, labels) == pytest.approx((-difference, -z, p))


def test_scores_in_the_same_order_do_not_differ():
    scores, labels = images("random")

    assert delong_paired(scores, 3 * scores - 1, labels) == (0.0, 0.0, 1.0)


def test_a_difference_without_variance_has_no_p():
    (good, labels), (bad, _) = images("perfect"), images("inverted")
    difference, z, p = delong_paired(bad, good, labels)

    assert difference == 1.0
    assert math.isnan(z)
    assert math.isnan(p)


def test_a_single_anomalous_image_has_no_variance():
    area, variance = delong([0.1, 0.5, 0.4], [0, 1, 0])

    assert area == 1.0
    assert math.isnan(variance)
    assert math.isnan(delong_paired([0.1, 0.5, 0.4], [0.6, 0.5, 0.4], [0, 1, 0]).p)


def test_a_bootstrap_p_is_two_sided_and_never_zero():
    assert bootstrap_p(np.full(1999, 0.1)) == 2 / 2000
    assert bootstrap_p(np.zeros(50)) == 1.0
    assert bootstrap_p(np.array([-0.1, 0.2, 0.3, 0.4, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5])) == 2 * 0.2
    assert bootstrap_p(-np.array([-0.1, 0.2, 0.3, 0.4, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5])) == 2 * 0.2


def test_holms_rule():
    corrected = holm([0.01, 0.04, math.nan, 0.03, 0.005, 0.9])

    assert corrected[:2] + corrected[3:] == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert math.isnan(corrected[2])
    assert holm([]) == []


def test_misshapen_input_is_named():
    with pytest.raises(UserError, match="shape"):
        bootstrap([[0.1, 0.2]], [1, 0, 1], stream())
    with pytest.raises(UserError, match="shape"):
        delong([[0.1], [0.2]], [1, 0])
    with pytest.raises(UserError, match="NaN"):
        bootstrap([[0.1, np.nan]], [1, 0], stream())
