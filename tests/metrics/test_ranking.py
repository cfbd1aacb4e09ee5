"""AUROC, AP and max-F1 against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.errors import UserError
from adbench.metrics import ImageMetrics, auroc, average_precision, f1_max
from metrics.reference import INPUTS, TOLERANCE, random_masks, sklearn_values


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", INPUTS)
def test_functions_equal_scikit_learn(kind, seed):
    rng = np.random.default_rng(seed)
    labels = random_masks(rng, 3, 20, 20).ravel()
    scores = INPUTS[kind](rng, labels)

    ours = {"auroc": auroc(scores, labels), "ap": average_precision(scores, labels), "f1max": f1_max(scores, labels)}

    assert ours == pytest.approx(sklearn_values(scores, labels), abs=TOLERANCE, rel=0)


@pytest.mark.parametrize("seed", range(40))
def test_tiny_sets_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    n = rng.integers(2, 9)
    scores, labels = rng.integers(0, 5, n) / 4, rng.integers(0, 2, n)

    values = ImageMetrics().update(scores, labels).compute()

    expected = {f"image_{name}": value for name, value in sklearn_values(scores, labels).items()}
    assert values == pytest.approx(expected, abs=TOLERANCE, rel=0, nan_ok=True)


def test_infinite_scores_rank_first_and_last():
    scores, labels = np.array([np.inf, 0.5, -np.inf, np.inf, 0.1]), np.array([1, 0, 1, 0, 1])

    assert auroc(scores, labels) == pytest.approx(sklearn_values(np.nan_to_num(scores), labels)["auroc"], abs=TOLERANCE)


def test_float64_scores_keep_their_precision():
    scores, labels = 1 + 1e-12 * np.arange(4), np.array([0, 0, 1, 1])

    assert ImageMetrics().update(scores, labels).compute()["image_auroc"] == 1.0


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_label_only_is_undefined(labels):
    values = ImageMetrics().update([0.1, 0.2, 0.3], labels).compute()

    assert set(values) == {"image_auroc", "image_ap", "image_f1max"}
    assert all(np.isnan(value) for value in values.values())


def test_nothing_is_undefined():
    assert np.isnan(list(ImageMetrics().compute().values())).all()
    assert np.isnan(list(ImageMetrics().update([], []).compute().values())).all()


def test_updates_and_merges_equal_one_update():
    rng = np.random.default_rng(3)
    scores, labels = rng.random(50), rng.integers(0, 2, 50)
    whole = ImageMetrics().update(scores, labels)

    parts = [ImageMetrics().update(scores[i : i + 7], labels[i : i + 7]) for i in range(0, 50, 7)]
    merged = ImageMetrics()
    for part in reversed(parts):
        merged.merge(part)

    assert merged.compute() == whole.compute()
    assert ImageMetrics().update(*whole.content()).compute() == whole.compute()


def test_an_update_does_not_alias_the_callers_array():
    scores, labels = np.array([0.1, 0.9], np.float32), np.array([False, True])
    metrics = ImageMetrics().update(scores, labels)

    scores[:] = scores[::-1].copy()

    assert metrics.compute()["image_auroc"] == 1.0


@pytest.mark.parametrize(
    ("scores", "labels", "named"),
    [
        ([0.1, np.nan], [0, 1], "NaN"),
        ([0.1, 0.2], [0, 2], "0 and 1"),
        ([0.1, 0.2], [0, 0.5], "0 and 1"),
        ([0.1, 0.2], [0], "shape"),
        ([[0.1, 0.2]], [[0, 1]], "shape"),
        (["a", "b"], [0, 1], "type"),
        ([1 + 1j, 2], [0, 1], "type"),
    ],
)
def test_bad_input_is_named(scores, labels, named):
    with pytest.raises(UserError, match=named):
        ImageMetrics().update(scores, labels)
    with pytest.raises(UserError, match=named):
        auroc(scores, labels)
