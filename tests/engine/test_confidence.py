"""Intervals of rows: of classes, their mean and several draws of support, whatever else is evaluated."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from adbench.data import catalogue
from adbench.engine.confidence import class_draws, describe, resampled, stream, with_intervals
from adbench.metrics import auroc, average_precision, f1_max
from adbench.metrics.intervals import RESAMPLES, resamples

FORMULAS = {"image_auroc": auroc, "image_ap": average_precision, "image_f1max": f1_max}


def make_scores(class_name, *, n=20, shots=0, support_seed=None, dataset="made", labels=None):
    draws = np.random.default_rng([len(class_name), shots, support_seed or 0])
    labels = [int(i % 3 == 0) for i in range(n)] if labels is None else labels
    place = {"dataset": dataset, "class_name": class_name, "shots": shots, "support_seed": support_seed}
    return [
        {**place, "path": f"{class_name}/{i:03d}.png", "label": label, "score": float(draws.normal(label))}
        for i, label in enumerate(labels)
    ]


def make_row(class_name, scores=(), *, shots=0, support_seed=None, protocol="exact", dataset="made"):
    values = [[one["score"] for one in scores], [one["label"] for one in scores]]
    metrics = {metric: formula(*values) if scores else 0.5 for metric, formula in FORMULAS.items()}
    place = {"dataset": dataset, "class_name": class_name, "shots": shots, "support_seed": support_seed}
    return {**place, "protocol": protocol, **metrics}


def repeated(scores, seed=3):
    """Each metric over all draws of the images, repeated image by image."""
    scores = sorted(scores, key=lambda one: one["path"])
    labels = np.array([one["label"] for one in scores])
    values = np.array([one["score"] for one in scores])
    weights = np.concatenate(list(resamples(labels, stream(seed, "made", scores[0]["class_name"]))))
    return {
        metric: np.array([formula(np.repeat(values, w), np.repeat(labels, w)) for w in weights])
        for metric, formula in FORMULAS.items()
    }


def test_the_intervals_of_classes_and_their_mean_are_those_of_repeated_images():
    bolt, screw = make_scores("bolt"), make_scores("screw", n=31)
    rows = [make_row("bolt", bolt), make_row("screw", screw), make_row("mean")]

    found = with_intervals(rows, [*bolt, *screw], 3)

    draws = [repeated(bolt), repeated(screw)]
    draws.append({metric: (draws[0][metric] + draws[1][metric]) / 2 for metric in FORMULAS})
    for row, values in zip(found, draws, strict=True):
        for metric in FORMULAS:
            assert [row[f"{metric}_low"], row[f"{metric}_high"]] == pytest.approx(
                np.percentile(values[metric], [2.5, 97.5]), abs=1e-12
            )
    assert found[0]["image_auroc_low"] <= found[0]["image_auroc"] <= found[0]["image_auroc_high"]
    widths = [row["image_auroc_high"] - row["image_auroc_low"] for row in found]
    assert widths[2] < max(widths[:2])
    assert describe(3) == {"level": 0.95, "resamples": RESAMPLES, "seed": 3, "over": "test images, stratified by label"}


def test_neither_order_nor_companions_change_an_interval():
    bolt, screw = make_scores("bolt"), make_scores("screw")
    alone = with_intervals([make_row("bolt", bolt)], bolt, 3)
    mixed = [*screw, *bolt]
    random.Random(0).shuffle(mixed)

    assert with_intervals([make_row("bolt", bolt), make_row("screw", screw)], mixed, 3)[:1] == alone
    assert with_intervals([make_row("bolt", bolt)], bolt, 4) != alone


def test_the_mean_over_support_seeds_is_taken_within_the_same_draws_of_images():
    scores = [make_scores("bolt", shots=2, support_seed=seed) for seed in (0, 1)]
    rows = [make_row("bolt", one, shots=2, support_seed=seed) for seed, one in enumerate(scores)]
    over_seeds = make_row("bolt", shots=2, support_seed="mean")

    found = with_intervals([*rows, over_seeds], scores[0] + scores[1], 3)

    both = [repeated(one)["image_auroc"] for one in scores]
    expected = np.percentile((both[0] + both[1]) / 2, [2.5, 97.5])
    assert [found[2]["image_auroc_low"], found[2]["image_auroc_high"]] == pytest.approx(expected, abs=1e-12)
    assert found[0]["image_auroc_low"] == pytest.approx(np.percentile(both[0], 2.5), abs=1e-12)


@pytest.mark.parametrize(("protocol", "share"), [("exact", 1.0), ("official", 0.5)])
def test_a_class_of_one_label_has_none_and_counts_as_the_protocol_has_it(protocol, share):
    bolt, screw = make_scores("bolt"), make_scores("screw", labels=[0] * 9)
    rows = [make_row(name, protocol=protocol) for name in ("bolt", "screw", "mean")]

    found = with_intervals(rows, [*bolt, *screw], 3)

    assert math.isnan(found[1]["image_auroc_low"])
    assert math.isnan(found[1]["image_f1max_high"])
    assert found[2]["image_auroc_low"] == pytest.approx(share * found[0]["image_auroc_low"])


def test_rows_without_scores_have_none():
    scores = [{**one, "score": None} for one in make_scores("bolt")]
    rows = [make_row("bolt"), make_row("mean", dataset="mean")]

    assert with_intervals(rows, scores, 3) == rows


def test_images_whose_label_is_unknown_are_left_out():
    scores = make_scores("bolt")
    unknown = [{**one, "label": -1} for one in make_scores("bolt", n=25)[20:]]

    assert with_intervals([make_row("bolt")], scores + unknown, 3) == with_intervals([make_row("bolt")], scores, 3)


def test_views_of_one_part_are_drawn_together():
    place = {"dataset": "real_iad", "class_name": "usb", "shots": 0, "support_seed": None}
    scores = [
        # all views of a part look alike, so that they are worth one image
        {**place, "path": f"realiad_1024/usb/OK/S{part:04d}/{view}.jpg", "label": part % 3 // 2, "score": part % 5}
        for part in range(12)
        for view in range(5)
    ]

    together = class_draws(scores, 3)["real_iad", "usb"][0, None]["image_auroc"]
    apart = resampled({0: scores}, "made", "usb", 3)[0]["image_auroc"]
    assert together.std() > 1.5 * apart.std()


@pytest.mark.parametrize(
    ("dataset", "key", "unit"),
    [
        ("real_iad", "realiad_1024/usb/NG/AK/S0001/usb_0001_NG_C1.jpg", "realiad_1024/usb/NG/AK/S0001"),
        ("sdd", "kos01/Part0.jpg/0-0-10-10", "kos01"),
        ("sdd", "SDD/test/good/KOS12_Part3_1.png", "kos12"),
        ("sdd", "SDD/test/good/0.png", "SDD/test/good/0.png"),
        ("aitex", "Defect_images/0001_002_00.png/0-0-256-256", "Defect_images/0001_002_00.png"),
    ],
)
def test_what_an_image_is_a_part_of(dataset, key, unit):
    assert catalogue.get(dataset).unit_of(key) == unit


def test_means_over_data_sets_leave_out_what_was_trained_on():
    sets = {"mvtec": True, "visa": False, "btad": None, "brain_mri": True}
    scores = [one for name in sets for one in make_scores("bolt", dataset=name)]
    rows = [{**make_row("mean", dataset=name), "zero_shot": seen} for name, seen in sets.items()]
    over = [make_row("mean", dataset=name) for name in ("mean:industrial", "mean:medical", "mean")]

    found = with_intervals([*rows, *over], scores, 3)[-3:]

    draws = {name: class_draws(scores, 3)[name, "bolt"][0, None]["image_auroc"] for name in sets}
    for row, names in zip(found, (["mvtec", "btad"], ["brain_mri"], ["mvtec", "btad", "brain_mri"]), strict=True):
        expected = np.percentile(np.mean([draws[name] for name in names], axis=0), [2.5, 97.5])
        assert [row["image_auroc_low"], row["image_auroc_high"]] == pytest.approx(expected, abs=1e-12)
