"""Conformal thresholds: the tables of the literature, and what many calibration sets really give."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from adbench.errors import UserError
from adbench.metrics import conformal
from adbench.metrics.conformal import (
    clopper_pearson,
    conformal_rank,
    conformal_threshold,
    require_enough,
    smallest_n,
    supported_fpr,
)

# target rate: smallest n on average, with confidence 90 %, 95 %, 99 %
SMALLEST = {
    0.20: (4, 11, 14, 21),
    0.10: (9, 22, 29, 44),
    0.05: (19, 45, 59, 90),
    0.02: (49, 114, 149, 228),
    0.01: (99, 230, 299, 459),
    0.005: (199, 460, 598, 919),
    0.001: (999, 2302, 2995, 4603),
    0.0001: (9999, 23025, 29956, 46050),
}
RULES = ("average", 0.90, 0.95, 0.99)


def binomial_at_most(r: int, n: int, rate: float) -> float:
    return math.fsum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(r + 1))


@pytest.mark.parametrize("fpr", SMALLEST)
def test_the_smallest_numbers_of_images(fpr):
    assert tuple(smallest_n(fpr, rule) for rule in RULES) == SMALLEST[fpr]
    for rule, n in zip(RULES, SMALLEST[fpr], strict=True):
        assert conformal_rank(n, fpr, rule) == n
        assert conformal_rank(n - 1, fpr, rule) == n
        assert supported_fpr(n, rule) <= fpr + 1e-12 < supported_fpr(n - 1, rule)


def test_rounding_asks_for_no_image_too_many():
    # 0.3^2 = 0.09 = 1 - 0.91 exactly; the quotient of logarithms is a little above 2.
    assert smallest_n(0.7, 0.91) == 2


@pytest.mark.parametrize(
    ("fpr", "numbers"), [(0.10, (29, 46, 61, 103)), (0.05, (59, 93, 124, 208)), (0.01, (299, 473, 628, 1049))]
)
def test_how_many_images_may_lie_above(fpr, numbers):
    for n, n_above in zip(numbers, (0, 1, 2, 5), strict=True):
        assert n - conformal_rank(n, fpr, 0.95) == n_above
        assert n - 1 - conformal_rank(n - 1, fpr, 0.95) == n_above - 1


@pytest.mark.parametrize(
    ("n", "ranks"),
    [
        (19, (18, 19, None)),
        (30, (28, 30, None)),
        (60, (55, 58, None)),
        (100, (91, 96, 100)),
        (209, (189, 200, 208)),
        (500, (451, 476, 496)),
        (1000, (901, 951, 991)),
    ],
)
def test_ranks_of_the_average_rule(n, ranks):
    for fpr, rank in zip((0.10, 0.05, 0.01), ranks, strict=True):
        found = conformal_rank(n, fpr, "average")
        assert found == rank if rank is not None else found > n


@pytest.mark.parametrize("n", [1, 2, 14, 29, 30, 77, 200])
@pytest.mark.parametrize("fpr", [0.013, 0.05, 0.1, 0.5])
def test_the_rank_is_the_lowest_that_the_binomial_allows(n, fpr):
    allowed = [n - r for r in range(n) if binomial_at_most(r, n, fpr) <= 0.05]

    assert conformal_rank(n, fpr, 0.95) == min(allowed, default=n + 1)


@pytest.mark.parametrize(("n", "fpr"), [(60, 0.05), (103, 0.1), (350, 0.01)])
def test_what_many_calibration_sets_give(n, fpr):
    """The true rate of a threshold t on uniform scores is 1 - t."""
    rng = np.random.default_rng(0)
    sets = np.sort(rng.random((20_000, n)), axis=1)

    sure = 1 - sets[:, conformal_rank(n, fpr, 0.95) - 1]
    assert (sure > fpr).mean() <= 0.05 + 0.005
    if fpr * n > 1:  # on average the rate is no more than a, and no less than a - 1/(n+1)
        mean = (1 - sets[:, conformal_rank(n, fpr, "average") - 1]).mean()
        assert fpr - 1 / (n + 1) - 0.001 <= mean <= fpr + 0.001


def test_the_same_as_the_conformal_p_value():
    rng = np.random.default_rng(1)
    normal, images = np.round(rng.normal(size=57), 1), np.round(rng.normal(0.5, 1.5, 400), 1)
    for fpr in (0.02, 0.05, 0.1, 0.3):
        p_values = (1 + (normal[None, :] >= images[:, None]).sum(1)) / (len(normal) + 1)
        alarms = images > conformal_threshold(normal, fpr, "average").value
        np.testing.assert_array_equal(alarms, p_values <= fpr)


def test_ties_leave_fewer_above():
    found = conformal_threshold([1.0] * 40 + [2.0] * 63, 0.1)

    assert (found.value, found.n, found.n_above) == (2.0, 103, 0)


def test_too_few_images_are_refused_with_what_they_support():
    with pytest.raises(UserError, match=r"n = 30 normal images supports no rate below 0\.0951 with confidence 0\.95"):
        conformal_threshold(range(30), 0.05)
    with pytest.raises(UserError, match=r"no rate below 0\.0323 on average .*at least 99 normal images"):
        conformal_threshold(range(30), 0.01, "average")
    conformal_threshold(range(30), 0.0951)
    conformal_threshold(range(30), 0.0323, "average")
    with pytest.raises(UserError, match="n = 0 normal images supports no rate with"):
        require_enough(0, 0.05)


def test_the_weaker_promise_is_offered_where_it_holds():
    with pytest.raises(UserError, match=r"at least 59 normal images.*confidence=average"):
        conformal_threshold(range(19), 0.05)
    with pytest.raises(UserError, match=r"at least 59 normal images, or a larger fpr$"):
        conformal_threshold(range(18), 0.05)


@pytest.mark.parametrize(("fpr", "confidence"), [(0, 0.95), (1, 0.95), (float("nan"), 0.95), (0.1, 1), (0.1, "mean")])
def test_settings_out_of_range_are_refused(fpr, confidence):
    with pytest.raises(UserError, match="Give a"):
        conformal_threshold(range(100), fpr, confidence)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    with pytest.raises(UserError):
        conformal_threshold([bad, *range(100)], 0.1)


@pytest.mark.parametrize(("hits", "n"), [(0, 30), (1, 30), (15, 30), (30, 30), (3, 299)])
def test_clopper_pearson_leaves_half_the_rest_on_either_side(hits, n):
    low, high = clopper_pearson(hits, n)

    assert low == 0 if hits == 0 else 1 - binomial_at_most(hits - 1, n, low) == pytest.approx(0.025, rel=1e-6)
    assert high == 1 if hits == n else binomial_at_most(hits, n, high) == pytest.approx(0.025, rel=1e-6)


def test_the_examples_run():
    assert doctest.testmod(conformal).failed == 0
