"""Every field of a result row, with and without a record of training, support sets and labels of roads."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from adbench.data.sample import Sample
from adbench.data.support import SupportSet, listing_sha256
from adbench.engine.rows import build_rows, summarise_seeds
from adbench.engine.settings import EvalData, EvalSettings, MetricSet
from adbench.engine.weights import WeightsRecord
from adbench.engine.zero_shot import Overlap
from adbench.metrics import ROAD_METRICS
from adbench.metrics.registry import shown
from engine.tiny_engine import TinyMethod, fake_clip

METRICS = shown()
SETTINGS = EvalSettings(seed=7)
RECORD = WeightsRecord(
    method="tiny",
    hyperparameters={},
    backbone={},
    data=[{"name": "visa", "classes": ["candle"]}],
    seed=111,
    sha256="5" * 64,
)


def result(value=0.5, shots=0, **more):
    metrics = dict.fromkeys(METRICS, value)
    return {"shots": shots, "metrics": metrics, "n_images": 10, "n_anomalous": 4, "seconds": 2.0, "notes": [], **more}


def rows_of(results, record=None, method=None, settings=SETTINGS, draw=(0, None), seen=None, support=None, **facts):
    samples = [Sample(Path("0.png"), "0.png", name, 0, None, "test", "good", "mvtec") for name in results]
    data = EvalData(name="mvtec", samples=samples, supports={draw: support or {}}, **facts)
    chosen = method or TinyMethod(fake_clip())
    return build_rows(chosen, data, results, settings, record, draw=draw, seen=seen or Overlap())


def test_rows_say_what_was_not_computed_in_float32():
    held, amp = TinyMethod(fake_clip(dtype="bfloat16")), replace(SETTINGS, amp="bf16")
    for row in rows_of({"screw": result()}, method=held, settings=amp):
        told = "computed with the backbone's blocks in bfloat16 (clip.dtype)", "computed under bf16 autocast (eval.amp)"
        assert row["notes"] == list(told)
    plain = TinyMethod(fake_clip(dtype="float32"))
    assert rows_of({"screw": result()}, method=plain)[0]["notes"] == []


def test_a_row_of_an_untrained_method_holds_every_field():
    screw, bolt, mean = rows_of({"screw": result(0.4), "bolt": result(0.8, seconds=0.0)}, note="of three classes")
    assert screw == {
        "method": "tiny",
        "weights": None,
        "backbone": "fake",
        "backbone_sha256": "0" * 64,
        "trained_on": [],
        "dataset": "mvtec",
        "support_seed": None,
        "support_source": None,
        "seed": 7,
        "eval_seed": 7,
        "protocol": "exact",
        "class_name": "screw",
        "shots": 0,
        "support_id": None,
        "n_images": 10,
        "n_anomalous": 4,
        **dict.fromkeys(METRICS, 0.4),
        "zero_shot": True,
        "selected_on_test": False,
        "notes": ["of three classes"],
        "seconds": 2.0,
        "images_per_second": 5.0,
    }
    assert math.isnan(bolt["images_per_second"])
    assert (mean["class_name"], mean["n_images"], mean["n_anomalous"], mean["seconds"]) == ("mean", 20, 8, 2.0)
    assert mean["image_auroc"] == pytest.approx(0.6)
    assert mean["images_per_second"] == 10.0


def test_a_row_tells_the_weights_and_the_seed_of_their_training():
    row, _ = rows_of({"screw": result()}, RECORD)
    assert (row["weights"], row["seed"], row["eval_seed"], row["trained_on"]) == ("5" * 64, 111, 7, ["visa"])
    assert (row["zero_shot"], row["notes"]) == (True, [])
    row, _ = rows_of({"screw": result()}, replace(RECORD, seed=None, data=None))
    assert (row["seed"], row["trained_on"], row["zero_shot"]) == (7, None, None)
    assert row["notes"] == ["it is unknown what the weights were trained on"]


def test_rows_tell_their_support_sets_one_by_one_and_together():
    sets = {
        name: SupportSet(
            dataset="mvtec", class_name=name, k=2, source="seeded", seed=3, names=(f"{name}/0.png", f"{name}/1.png")
        )
        for name in ("screw", "bolt")
    }
    screw, bolt, mean = rows_of({"screw": result(shots=2), "bolt": result(shots=1)}, draw=(2, 3), support=sets)
    assert [row["support_id"] for row in (screw, bolt)] == [sets["screw"].id, sets["bolt"].id]
    assert mean["support_id"] == listing_sha256([sets["screw"].id, sets["bolt"].id])[:16]
    assert [row["shots"] for row in (screw, bolt)] == [2, 1]
    assert {row["support_source"] for row in (screw, bolt, mean)} == {"seeded"}
    assert {row["support_seed"] for row in (screw, bolt, mean)} == {3}
    (row, of_one) = rows_of({"screw": result()}, draw=(2, 3), support=sets)
    assert of_one["support_id"] == row["support_id"] == sets["screw"].id


def test_rows_of_roads_have_their_own_metrics_and_image_metrics_only_where_there_are_any():
    road = dict.fromkeys(ROAD_METRICS, 0.3)
    row, mean = rows_of({"road": result() | {"metrics": road}}, metric_set=MetricSet(name="road"))
    assert [key for key in row if key in {*METRICS, *ROAD_METRICS}] == list(ROAD_METRICS)
    assert all(mean[metric] == pytest.approx(0.3) for metric in ROAD_METRICS)
    with_images = result() | {"metrics": {**road, "image_ap": 0.9}}
    row, _ = rows_of({"road": with_images}, metric_set=MetricSet(name="road"))
    assert [key for key in row if key in {*METRICS, *ROAD_METRICS}] == ["image_ap", *ROAD_METRICS]


def test_the_mean_over_seeds_tells_the_speed_of_all_of_them():
    rows = [row for seed in (0, 1) for row in rows_of({"screw": result(0.2 + 0.4 * seed)}, draw=(1, seed))]
    of_seeds = {row["class_name"]: row for row in summarise_seeds(rows)}
    screw = of_seeds["screw"]
    assert (screw["seconds"], screw["images_per_second"], screw["n_support_seeds"]) == (4.0, 5.0, 2)
    assert (screw["image_ap"], screw["image_ap_std"]) == pytest.approx((0.4, 0.4 / 2**0.5))
