"""Whatever maps and masks come: the metrics are those of scikit-learn and brute force, or the input is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from adbench.errors import UserError
from adbench.metrics import ImageMetrics, PixelMetrics, RoadMetrics
from metrics.reference import TOLERANCE, brute_force_aupro, sklearn_values

SHAPES = arrays.array_shapes(min_dims=3, max_dims=3, max_side=5)
FEW = st.sampled_from([-1.0, -0.0, 0.0, 1e-30, 0.25, 0.5, 3e8])  # ties, signed zeros, far ends
VALUES = st.one_of(FEW, st.floats(width=32, allow_nan=False, allow_infinity=False))


@st.composite
def maps_and_masks(draw):
    shape = draw(SHAPES)
    return draw(arrays.arrays(np.float32, shape, elements=VALUES)), draw(arrays.arrays(np.bool_, shape))


@given(maps_and_masks(), st.sampled_from([0.05, 0.3, 1.0]))
def test_pixel_metrics_are_those_of_scikit_learn_and_brute_force(pair, limit):
    maps, masks = pair
    found = PixelMetrics(aupro_limit=limit).update(maps, masks).compute()
    if masks.all() or not masks.any():
        assert all(np.isnan(value) for value in found.values())
        return
    expected = {f"pixel_{name}": value for name, value in sklearn_values(maps, masks).items()}
    expected["pixel_aupro"] = brute_force_aupro(maps.astype(np.float64), masks, limit)
    assert found == pytest.approx(expected, abs=TOLERANCE, rel=0)


@given(maps_and_masks(), st.data())
def test_order_and_split_change_nothing_and_the_constant_mode_keeps_its_bounds(pair, data):
    maps, masks = pair
    order, cut = data.draw(st.permutations(range(len(maps)))), data.draw(st.integers(0, len(maps)))
    exact = PixelMetrics().update(maps, masks).compute()
    parts = [PixelMetrics().update(maps[part], masks[part]) for part in (order[:cut], order[cut:])]
    assert repr(parts[0].merge(parts[1]).compute()) == repr(exact)
    constant = PixelMetrics(mode="constant").update(maps, masks)
    bounds = constant.error_bounds()
    for name, value in constant.compute().items():
        assert np.isnan(value) == np.isnan(exact[name])
        assert np.isnan(value) or abs(value - exact[name]) <= bounds[name] + 1e-12


@given(st.lists(st.tuples(VALUES, st.booleans()), max_size=12))
def test_image_metrics_turn_round_with_the_scores(pairs):
    scores, labels = (np.array([pair[i] for pair in pairs]) for i in (0, 1))
    found = ImageMetrics().update(scores.astype(float), labels.astype(bool)).compute()
    turned = ImageMetrics().update(-scores.astype(float), labels.astype(bool)).compute()
    if len({*labels}) < 2:
        assert all(np.isnan(value) for value in found.values())
        return
    assert found == pytest.approx(
        {f"image_{name}": value for name, value in sklearn_values(scores, labels).items()}, abs=TOLERANCE, rel=0
    )
    assert found["image_auroc"] + turned["image_auroc"] == pytest.approx(1, abs=TOLERANCE)


@given(st.data())
def test_road_metrics_look_at_no_ignored_pixel(data):
    shape = data.draw(SHAPES)
    labels = data.draw(arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255])))
    maps = data.draw(arrays.arrays(np.float32, shape, elements=VALUES))
    other = np.where(labels == 255, np.float32(np.nan), maps)
    found, again = (RoadMetrics().update(m, labels).compute() for m in (maps, other))
    assert repr(found) == repr(again)
    known = labels != 255
    if len(np.unique(labels[known])) < 2:
        assert np.isnan(found["pixel_ap"])
        assert np.isnan(found["pixel_auroc"])
        return
    truth, scores = labels[known] == 1, maps[known]
    assert found["pixel_ap"] == pytest.approx(average_precision_score(truth, scores), abs=TOLERANCE)
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=TOLERANCE)


ANYTHING = arrays.arrays(
    st.one_of(arrays.scalar_dtypes(), arrays.unicode_string_dtypes(max_len=2)),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)


@given(ANYTHING, ANYTHING)
def test_what_is_taken_is_numbers_of_one_shape_and_masks_of_zero_and_one(maps, masks):
    metrics = PixelMetrics()
    try:
        metrics.update(maps, masks)
    except UserError:
        assert metrics._pixels.negatives.size == 0
        return
    assert maps.shape == masks.shape
    assert maps.ndim == 3
    assert maps.dtype.kind in "fiub"
    assert not np.isnan(maps.astype(float)).any()
    assert set(np.unique(masks).tolist()) <= {0, 1}
