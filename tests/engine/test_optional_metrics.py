"""Metrics that eval.metrics and eval.aupro_limit ask for, from the settings to the rows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from adbench.data.loading import load_batch
from adbench.engine.accumulate import accumulate
from adbench.engine.evaluate import evaluate
from adbench.engine.settings import EvalData, EvalSettings
from adbench.engine.validate import improves
from adbench.errors import UserError
from adbench.metrics.calibration import brier, ece
from adbench.metrics.operating_points import balanced_accuracy, fpr95, recall_at_fpr
from adbench.metrics.pixel import aupro
from adbench.metrics.thresholded import ScoreMoments, ThresholdedPixels
from engine.tiny_engine import TinyMethod, build_method, fake_clip, write_dataset

CPU = torch.device("cpu")
CHOSEN = (
    *("image_fpr95", "image_recall_at_fpr@0.25", "image_balanced_accuracy@0.5", "image_balanced_accuracy@val3sigma"),
    *("image_ece", "image_brier", "segf1@0.5", "seg_iou@0.5", "segf1@val3sigma", "pixel_aupimo", "pixel_aupimo_exact"),
)
SETTINGS = EvalSettings(batch_size=3, aupro_limit=(0.3, 0.05), metrics=CHOSEN)


@pytest.fixture
def data(tmp_path):
    samples = write_dataset(tmp_path / "tiny")
    validation = write_dataset(tmp_path / "good", n_anomalous=0, n_normal=3, seed=5)
    return EvalData(name="tiny", samples=samples, validation=[replace(one, split="validation") for one in validation])


def probable():
    """The tiny method, whose scores are sigmoids, says that they are probabilities."""
    method = build_method()
    method.scores_are_probabilities = True
    return method


def test_rows_hold_what_the_functions_say(data):
    method = probable()
    row = evaluate(method, data, SETTINGS, device=CPU)[0]

    batch = load_batch(data.samples[:8], method.transform)
    prediction = method.predict(batch)
    scores, labels = prediction.scores.detach().numpy(), batch.labels.numpy()
    maps, masks = prediction.maps.detach().numpy(), batch.masks.numpy()
    good = method.predict(load_batch(data.validation[:3], method.transform))
    of_images = ScoreMoments().update(good.scores.detach().numpy()[None]).threshold()
    of_pixels = ScoreMoments().update(good.maps.detach().numpy()).threshold()
    at_half, at_rule = (ThresholdedPixels(t).update(maps, masks).compute() for t in (0.5, of_pixels))
    expected = {
        "pixel_aupro": aupro(maps, masks),
        "pixel_aupro@0.05": aupro(maps, masks, 0.05),
        "image_fpr95": fpr95(scores, labels),
        "image_recall_at_fpr@0.25": recall_at_fpr(scores, labels, 0.25),
        "image_balanced_accuracy@0.5": balanced_accuracy(scores, labels, 0.5),
        "image_balanced_accuracy@val3sigma": balanced_accuracy(scores, labels, of_images),
        "image_ece": ece(scores, labels),
        "image_brier": brier(scores, labels),
        "segf1@0.5": at_half["segf1"],
        "seg_iou@0.5": at_half["seg_iou"],
        "segf1@val3sigma": at_rule["segf1"],
        "image_val3sigma": of_images,
        "pixel_val3sigma": of_pixels,
    }
    assert {key: row[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    assert math.isnan(row["pixel_aupimo"])  # 1024 normal pixels
    assert any("pixel_aupimo is undefined: the smallest shared FPR" in note for note in row["notes"])
    assert any("image_ece of 8 images is biased upwards" in note for note in row["notes"])


class Mixing(TinyMethod):
    """What an image gets depends on the others of its batch, and the method says so."""

    mixes_batch = True

    def encode(self, batch):
        patches = super().encode(batch)["patches"]
        return {"patches": patches + patches.mean()}


def without_time(rows):
    return [{**row, "seconds": 0, "images_per_second": 0} for row in rows]


def test_a_method_that_mixes_its_batch_gets_one_image_at_a_time_for_thresholds_too(data):
    torch.manual_seed(0)
    method = Mixing(fake_clip())
    several, single = (evaluate(method, data, replace(SETTINGS, batch_size=n), device=CPU) for n in (3, 1))
    for row, expected in zip(without_time(several), without_time(single), strict=True):
        assert {key: str(value) for key, value in row.items()} == {key: str(value) for key, value in expected.items()}


def test_thresholds_do_not_depend_on_what_was_drawn_before(data):
    method = build_method(noise=0.3)
    first = evaluate(method, data, SETTINGS, device=CPU)
    method.random_state.rand(7)
    again = evaluate(method, data, SETTINGS, device=CPU)
    assert [row.get("pixel_val3sigma") for row in again] == [row.get("pixel_val3sigma") for row in first]


def test_the_mean_is_over_classes_and_has_no_thresholds(data):
    first, second, mean = evaluate(build_method(), data, SETTINGS, device=CPU)
    assert mean["segf1@0.5"] == pytest.approx((first["segf1@0.5"] + second["segf1@0.5"]) / 2)
    assert "pixel_val3sigma" not in mean
    assert first["pixel_val3sigma"] != second["pixel_val3sigma"]


def test_scores_that_claim_nothing_have_no_calibration(data):
    row = evaluate(build_method(), data, SETTINGS, device=CPU)[0]
    assert math.isnan(row["image_ece"])
    assert math.isnan(row["image_brier"])
    assert "image_ece is undefined: the scores do not claim to be probabilities" in row["notes"]


def test_without_validation_images_their_threshold_is_undefined_and_said_so(data):
    row = evaluate(build_method(), replace(data, validation=()), SETTINGS, device=CPU)[0]
    for key in ("segf1@val3sigma", "image_balanced_accuracy@val3sigma", "pixel_val3sigma"):
        assert math.isnan(row[key])
    assert not math.isnan(row["segf1@0.5"])
    assert "no validation images, so no threshold of them" in row["notes"]


def test_shards_merge_also_into_one_that_had_no_images(data):
    method, samples = probable(), data.samples[:8]
    kwargs = {"device": CPU, "with_masks": True}
    settings = replace(SETTINGS, batch_size=1)
    validation = data.validation[:3]
    whole = accumulate(method, samples, settings, validation=validation, **kwargs)[0].result()
    empty = accumulate(method, [], settings, **kwargs)[0]
    for part in (samples[5:], samples[:5]):
        empty.merge(accumulate(method, part, settings, validation=validation, **kwargs)[0])
    merged = empty.result()
    assert merged["metrics"] == pytest.approx(whole["metrics"], nan_ok=True)
    assert merged["notes"] == whole["notes"]


def test_without_masks_pixel_columns_are_undefined(tmp_path):
    samples = write_dataset(tmp_path, masks=False)
    row = evaluate(build_method(), EvalData(name="tiny", samples=samples), SETTINGS, device=CPU)[0]
    assert all(math.isnan(row[key]) for key in ("pixel_aupro@0.05", "segf1@0.5", "pixel_aupimo", "pixel_auroc"))
    assert 0 <= row["image_fpr95"] <= 1


def test_limits_of_aupro_are_a_column_each():
    keys = [column.key for column in EvalSettings(aupro_limit=(0.05, 1.0)).columns()]
    assert [key for key in keys if "aupro" in key] == ["pixel_aupro@0.05", "pixel_aupro@1"]
    asked = EvalSettings(metrics=("pixel_aupro@0.050", "pixel_aupro200", "image_auroc"))
    assert [column.key for column in asked.columns()][-3:] == ["pixel_aupro", "pixel_aupro@0.05", "pixel_aupro200"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ("segf1",)}, "names no score threshold"),
        ({"metrics": ("component_f1",)}, "no choice of eval.metrics .*road scenes"),
        ({"metrics": ("image_f1max_threshold",)}, "no choice of eval.metrics"),
        ({"metrics": ("pixel_aupimo",), "metrics_mode": "constant"}, "needs every score"),
        ({"aupro_limit": ()}, "aupro_limit"),
        ({"aupro_limit": (0.0,)}, "aupro_limit"),
    ],
)
def test_impossible_choices_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        EvalSettings(**settings)


def test_weights_may_be_selected_by_any_metric_the_lower_one_where_that_is_better():
    assert improves(0.9, 0.8, "image_auroc")
    assert improves(0.1, 0.2, "image_fpr95")
    assert not improves(0.2, 0.2, "image_fpr95")
    assert not improves(0.2, 0.2, "image_auroc")
