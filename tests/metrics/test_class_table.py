"""The table of a data set: the mean over classes, and the authors' zeros on request."""

from __future__ import annotations

import math

import pytest

from adbench.errors import UserError
from adbench.metrics import summarise

NAN = math.nan
ROWS = {
    "bottle": {"image_auroc": 0.8, "image_ap": 0.7, "pixel_auroc": 0.9, "pixel_aupro": 0.5},
    "headct": {"image_auroc": 0.6, "image_ap": 0.5, "pixel_auroc": NAN, "pixel_aupro": NAN},
    "isic": {"image_auroc": NAN, "image_ap": NAN, "pixel_auroc": 0.7, "pixel_aupro": 0.3},
}


def test_exact_leaves_undefined_values_out_of_the_mean():
    table = summarise(ROWS)

    assert list(table) == ["bottle", "headct", "isic", "mean"]
    assert math.isnan(table["headct"]["pixel_auroc"])
    assert table["mean"] == pytest.approx(
        {"image_auroc": 0.7, "image_ap": 0.6, "pixel_auroc": 0.8, "pixel_aupro": 0.4}, abs=1e-15
    )


def test_official_prints_zeros_that_count():
    table = summarise(ROWS, protocol="official")

    assert table["headct"]["pixel_auroc"] == 0.0
    assert table["isic"]["image_auroc"] == table["isic"]["image_ap"] == 0.0
    assert table["mean"]["image_auroc"] == pytest.approx(1.4 / 3)
    assert table["mean"]["pixel_auroc"] == pytest.approx(1.6 / 3)


@pytest.mark.parametrize("metric", ["auroc", "ap", "f1max"])
@pytest.mark.parametrize("level", ["image", "pixel"])
def test_official_zeros_are_those_of_the_authors_three_metrics(level, metric):
    name = f"{level}_{metric}"
    assert summarise({"a": {name: NAN}, "b": {name: 0.5}}, protocol="official")["mean"] == {name: 0.25}


def test_official_has_no_aupro_so_it_stays_undefined():
    table = summarise(ROWS, protocol="official")

    assert math.isnan(table["headct"]["pixel_aupro"])
    assert table["mean"]["pixel_aupro"] == pytest.approx(0.4)


def test_a_metric_defined_nowhere_has_no_mean():
    assert math.isnan(summarise({"a": {"image_ap": NAN}})["mean"]["image_ap"])


def test_a_metric_that_some_classes_lack_is_the_mean_over_the_others():
    rows = {"a": {"image_ap": 0.2, "pixel_ap": 0.5}, "b": {"image_ap": 0.4}}
    assert summarise(rows)["mean"] == pytest.approx({"image_ap": 0.3, "pixel_ap": 0.5})


def test_the_rows_given_are_not_changed():
    rows = {"a": {"image_ap": NAN}}
    summarise(rows, protocol="official")
    assert math.isnan(rows["a"]["image_ap"])


def test_bad_input_is_named():
    with pytest.raises(UserError, match="protocol"):
        summarise(ROWS, protocol="papers")
    with pytest.raises(UserError, match="mean"):
        summarise({"mean": {}})
