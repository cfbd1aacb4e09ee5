"""Means over data sets: each counts once, n/a is left out, and so is what was trained on."""

from __future__ import annotations

import math

import pytest

from adbench.engine.means import is_over_datasets, mean_rows


def row(dataset: str, value: float, **more: object) -> dict:
    return {
        "method": "m",
        "weights": "a",
        "backbone": "demo",
        "backbone_sha256": "b",
        "dataset": dataset,
        "class_name": "mean",
        "shots": 0,
        "support_seed": None,
        "support_source": None,
        "seed": 1,
        "eval_seed": 1,
        "protocol": "exact",
        "n_images": 10,
        "n_anomalous": 4,
        "image_auroc": value,
        "pixel_auroc": 0.5,
        "zero_shot": True,
        "selected_on_test": False,
        "notes": ["of the set"],
        "seconds": 2.0,
        **more,
    }


DOMAINS = {"a": "industrial", "b": "medical", "c": "industrial"}


def test_every_data_set_counts_once() -> None:
    rows = [row("a", 0.9, n_images=1000), row("a", 0.1, class_name="x"), row("b", 0.6), row("c", 0.3)]
    found = {one["dataset"]: one for one in mean_rows(rows, DOMAINS)}
    assert list(found) == ["mean:industrial", "mean:medical", "mean"]
    assert found["mean:industrial"]["image_auroc"] == pytest.approx(0.6)
    assert found["mean"]["image_auroc"] == pytest.approx(0.6)
    assert (found["mean"]["n_images"], found["mean"]["n_anomalous"], found["mean"]["n_datasets"]) == (1020, 12, 3)
    assert found["mean"]["images_per_second"] == pytest.approx(170)
    assert found["mean"]["notes"] == []
    assert all(is_over_datasets(one) for one in found.values())
    assert not any(is_over_datasets(one) for one in rows)


def test_what_is_undefined_is_left_out_and_said() -> None:
    rows = [row("a", math.nan), row("c", 0.3, n_anomalous=None)]
    found = mean_rows(rows, {"a": "industrial", "c": "industrial"})[-1]
    assert found["image_auroc"] == pytest.approx(0.3)
    assert found["notes"] == ["image metrics: mean of 1 of 2 data sets"]
    assert found["n_anomalous"] is None
    (alone, _) = mean_rows([row("a", math.nan)], {"a": "industrial"})
    assert math.isnan(alone["image_auroc"])
    assert alone["notes"] == []


def test_what_was_trained_on_is_left_out_and_said() -> None:
    rows = [row("a", 1.0, zero_shot=False), row("c", 0.3)]
    found = mean_rows(rows, {"a": "industrial", "c": "industrial"})[-1]
    assert found["image_auroc"] == pytest.approx(0.3)
    assert found["notes"] == ["without a: trained on"]
    assert mean_rows([row("a", 1.0, zero_shot=False)], {"a": "industrial"}) == []


def test_unknown_training_stays_unknown() -> None:
    assert mean_rows([row("a", 1.0, zero_shot=None), row("b", 1.0)], DOMAINS)[-1]["zero_shot"] is None


def test_checkpoints_that_differ_are_not_named() -> None:
    assert mean_rows([row("a", 1.0), row("b", 1.0, weights="z")], DOMAINS)[-1]["weights"] is None


def test_draws_are_kept_apart_and_summed_up() -> None:
    rows = [row(name, value, shots=1, support_seed=seed) for name, seed, value in
            (("a", 0, 0.8), ("a", 1, 0.6), ("b", 0, 0.4), ("b", 1, 0.6))]  # fmt: skip
    rows += [row(name, 0.0, shots=1, support_seed="mean") for name in ("a", "b")]
    found = {one["support_seed"]: one for one in mean_rows(rows, DOMAINS) if one["dataset"] == "mean"}
    assert {seed: one["image_auroc"] for seed, one in found.items()} == pytest.approx({0: 0.6, 1: 0.6, "mean": 0.6})
    assert found["mean"]["image_auroc_std"] == pytest.approx(0.0)
    assert found["mean"]["n_support_seeds"] == 2
