"""The metrics there are, and the names of columns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adbench.errors import UserError
from adbench.metrics import ROAD_METRICS, ImageMetrics, PixelMetrics
from adbench.metrics import registry as registry_module
from adbench.metrics.registry import all_metrics, column, find, in_order, is_metric, is_threshold, shown, title

IMAGES = ([0.1, 0.8, 0.3, 0.9], [0, 1, 0, 1])


def test_what_is_always_shown_is_what_the_accumulators_compute():
    maps, masks = np.random.default_rng(0).random((2, 8, 8)), np.zeros((2, 8, 8))
    masks[1, :2] = 1
    values = ImageMetrics().update(*IMAGES).compute() | PixelMetrics().update(maps, masks).compute()
    assert shown() == list(values)
    assert all(all_metrics()[name].built_in for name in values)
    assert in_order(reversed(ROAD_METRICS)) == list(ROAD_METRICS)


@pytest.mark.parametrize("metric", all_metrics().values(), ids=list(all_metrics()))
def test_every_metric_is_described_and_computes_under_its_name(metric):
    assert metric.title
    assert metric.formula
    parameter = 0.5 if metric.parameter is not None else None
    if metric.of_images is not None:
        assert 0 <= metric.of_images(*IMAGES, *(() if parameter is None else (parameter,))) <= 1
    if metric.of_pixels is not None:
        accumulator = metric.of_pixels(parameter, 1 << 20)
        assert accumulator.merge(metric.of_pixels(parameter, 1 << 20)) is accumulator
        assert math.isnan(accumulator.compute()[metric.name])
        assert isinstance(accumulator.notes(), list)
    assert metric.is_choice or metric.asked_by or metric.unit == "score"


def test_parameters_stand_behind_an_at_sign_as_numbers_are_written_shortest():
    assert column("pixel_aupro@0.050", "").key == "pixel_aupro@0.05"
    assert column("pixel_aupro@0.3", "").key == "pixel_aupro"
    assert column("pixel_aupro@1", "").key == "pixel_aupro@1"
    assert column("segf1@-2", "").parameter == -2.0
    assert column("segf1@val3sigma", "").parameter == "val3sigma"
    assert title("pixel_aupro@0.05") == "pixel AUPRO@0.05"
    assert find("pixel_aupro@0.050") is None  # no column is called so
    assert PixelMetrics(further_aupro_limits=(0.05, 1.0)).compute().keys() >= {"pixel_aupro@0.05", "pixel_aupro@1"}


def test_columns_are_shares_or_thresholds_or_neither():
    assert is_metric("image_recall_at_fpr@0.05")
    assert not is_metric("image_f1max_threshold")
    assert is_threshold("image_f1max_threshold")
    assert not is_metric("seconds")
    assert not is_threshold("image_auroc")


def test_order_is_that_of_tables_the_bare_name_first():
    keys = [
        "segf1@val3sigma",
        "pixel_aupro@0.05",
        "n_images",
        "segf1@0.5",
        "pixel_aupro",
        "pixel_aupro@0.01",
        "image_ap",
    ]
    expected = ["image_ap", "pixel_aupro", "pixel_aupro@0.01", "pixel_aupro@0.05", "segf1@0.5", "segf1@val3sigma"]
    assert in_order(keys) == expected


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("image_aurok", "unknown metric"),
        ("segf1", "names no score threshold"),
        ("segf1@mean", "names no score threshold"),
        ("segf1@inf", "impossible"),
        ("segf1@nan", "impossible"),
        ("pixel_aupro@0", "impossible FPR limit"),
        ("image_fpr95@0.9", "takes no parameter"),
    ],
)
def test_wrong_names_are_refused_in_one_line(key, message):
    with pytest.raises(UserError, match=message) as refused:
        column(key, "eval.metrics")
    assert "eval.metrics" in str(refused.value)
    assert find(key) is None


def test_further_limits_of_aupro_equal_their_own_accumulators_and_survive_merging():
    rng = np.random.default_rng(1)
    masks = rng.random((4, 12, 12)) < 0.1
    maps = np.round(rng.random(masks.shape) + 0.3 * masks, 2)
    for mode in ("exact", "constant"):
        several = PixelMetrics(mode=mode, further_aupro_limits=(0.05, 0.01))
        parts = [
            PixelMetrics(mode=mode, further_aupro_limits=(0.05, 0.01)).update(maps[i::2], masks[i::2]) for i in (0, 1)
        ]
        values = several.merge(parts[1]).merge(parts[0]).compute()
        for limit in (0.05, 0.01):
            single = PixelMetrics(mode=mode, aupro_limit=limit).update(maps, masks).compute()["pixel_aupro"]
            assert values[f"pixel_aupro@{limit}"] == single
        assert set(several.error_bounds()) == set(values)


def test_a_module_of_metrics_needs_no_other_edit(monkeypatch):
    """One more definition in a module: rows, order and header know it."""
    from adbench.metrics import calibration
    from adbench.metrics.metric import Metric

    extra = Metric(name="image_twice", title="image twice", level="image", formula="2", of_images=lambda *_: 1.0)
    monkeypatch.setattr(calibration, "DEFINITIONS", (*calibration.DEFINITIONS, extra))
    registry_module.all_metrics.cache_clear()
    registry_module.find.cache_clear()
    try:
        assert in_order(["image_twice", "image_ap"]) == ["image_ap", "image_twice"]
        assert title("image_twice") == "image twice"
    finally:
        monkeypatch.undo()
        registry_module.all_metrics.cache_clear()
        registry_module.find.cache_clear()
