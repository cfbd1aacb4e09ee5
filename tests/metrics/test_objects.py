"""Metrics of objects: the largest score of the images that show one, in rows and when rows are checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from adbench.engine.evaluate import evaluate
from adbench.engine.settings import EvalData, EvalSettings
from adbench.metrics.objects import by_object
from adbench.report.recomputation import recomputed
from engine.tiny_engine import build_method, write_dataset

METRICS = ("object_auroc", "object_ap", "object_f1max")


def test_an_object_has_its_images_largest_score_and_any_of_their_anomalies() -> None:
    scores, labels = np.float32([0.25, -1, 0.5, 0.75, -2]), np.array([False, True, False, False, False])
    largest, anomalous = by_object(scores, labels, ["b", "a", "b", "c", "a"])
    assert largest.tolist() == [-1, 0.5, 0.75]
    assert anomalous.tolist() == [True, False, False]
    assert largest.dtype == np.float32


def rows_and_scores(tmp_path, dataset):
    """Four objects a class, of two images each; the last two have one anomalous view and one normal one."""
    samples = write_dataset(tmp_path, n_normal=6, n_anomalous=2)
    order = [0, 1, 2, 3, 4, 6, 5, 7]
    numbers = [order.index(int(sample.key[-7:-4])) for sample in samples]
    samples = [
        replace(sample, key=f"{sample.class_name}/S{number // 2}/{number}.png", dataset=dataset)
        for sample, number in zip(samples, numbers, strict=True)
    ]
    scores: list = []
    settings = EvalSettings(batch_size=3, metrics=METRICS)
    data = EvalData(name=dataset, samples=samples)
    return evaluate(build_method(), data, settings, device=torch.device("cpu"), scores=scores), scores


def test_rows_have_figures_per_object_and_verify_finds_them_again(tmp_path) -> None:
    rows, scores = rows_and_scores(tmp_path, "real_iad")

    for row in rows[:2]:
        images = [image for image in scores if image["class_name"] == row["class_name"]]
        parts = [[image for image in images if f"/S{part}/" in image["path"]] for part in range(4)]
        good, bad = ([max(image["score"] for image in part) for part in half] for half in (parts[:2], parts[2:]))
        assert [sum(image["label"] for image in part) for part in parts] == [0, 0, 1, 1]
        pairs = [(b > g) + (b == g) / 2 for b in bad for g in good]
        assert row["object_auroc"] == pytest.approx(np.mean(pairs))
        assert not [note for note in row["notes"] if "object" in note]
    assert rows[2]["object_ap"] == pytest.approx((rows[0]["object_ap"] + rows[1]["object_ap"]) / 2)
    assert recomputed(rows, scores, {}, None) == rows


def test_without_objects_the_figures_are_undefined_and_say_why(tmp_path) -> None:
    rows, _ = rows_and_scores(tmp_path, "tiny")
    assert all(np.isnan(row[metric]) for row in rows for metric in METRICS)
    assert "object_ap is undefined: nothing tells which images show the same object" in rows[0]["notes"]
