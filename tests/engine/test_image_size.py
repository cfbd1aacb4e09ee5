"""Pixels at the size of the stored images: defects one by one (AUC-sPRO), and all other pixel metrics on request."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from torch.nn import functional

from adbench.data.images import open_image
from adbench.data.loading import load_batch, make_loader
from adbench.data.transforms import ClipTransform
from adbench.engine.accumulate import accumulate
from adbench.engine.evaluate import evaluate
from adbench.engine.kept_maps import maps_files, read_maps
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings
from adbench.errors import UserError
from adbench.metrics.spro import Channel, Saturation
from adbench.report.kept_figures import pixel_columns
from engine.tiny_engine import MEAN, SIDE, STD, build_method, write_dataset
from metrics.test_spro import brute_force

CPU = torch.device("cpu")
SATURATIONS = {255: (0.5, True), 236: (9.0, False)}
SIZE = (40, 30)  # of the stored pictures; maps have 16 x 16


@pytest.fixture
def samples(tmp_path):
    """Pictures larger than the maps; anomalous ones with two overlapping defects, each in a file of its own."""
    random, changed = np.random.default_rng(3), []
    for sample in write_dataset(tmp_path / "tiny", classes=("dots",)):
        open_image(sample.path).resize(SIZE).save(sample.path)
        further = ()
        if sample.mask_path is not None:
            further = (sample.mask_path.with_name(f"{sample.path.stem}_mask_2.png"),)
            for value, path in zip(SATURATIONS, (sample.mask_path, *further), strict=True):
                mask = np.zeros(SIZE[::-1], np.uint8)
                top, left = random.integers(0, 18, 2)
                mask[top : top + 7, left : left + 9] = value
                Image.fromarray(mask).save(path)
        changed.append(replace(sample, further_masks=further, saturations=SATURATIONS))
    return changed


def at_full_size(method, samples):
    """Maps, masks and channels, worked out by hand."""
    batch = load_batch(samples, method.transform)
    maps = method.predict(batch).maps.detach()
    whole = functional.interpolate(maps[:, None], size=SIZE[::-1], mode="bilinear")[:, 0].numpy()
    masks, channels = [], []
    for sample in samples:
        files = [sample.mask_path, *sample.further_masks] if sample.label else []
        stored = [np.asarray(Image.open(file)) for file in files]
        channels.append([Channel(one > 0, Saturation(*SATURATIONS[int(one.max())])) for one in stored])
        masks.append(np.any([np.zeros(SIZE[::-1], bool), *(one > 0 for one in stored)], axis=0))
    return whole, np.asarray(masks), channels


def test_spro_is_measured_on_single_defects_at_their_own_size(samples):
    method = build_method()
    settings = EvalSettings(batch_size=3, metrics=("pixel_auspro", "pixel_auspro@0.3"))
    row = evaluate(method, EvalData(name="tiny", samples=samples), settings, device=CPU)[0]
    maps, _, channels = at_full_size(method, samples)
    assert row["pixel_auspro"] == pytest.approx(brute_force(maps, channels, 0.05), abs=1e-6)
    assert row["pixel_auspro@0.3"] == pytest.approx(brute_force(maps, channels, 0.3), abs=1e-6)
    plain = evaluate(method, EvalData(name="tiny", samples=samples), EvalSettings(), device=CPU)[0]
    assert row["pixel_auroc"] == plain["pixel_auroc"]  # at the size of the maps, as ever
    assert row["notes"] == plain["notes"]


def test_every_pixel_metric_at_the_size_of_the_images(samples):
    method = build_method()
    good = [replace(one, split="validation") for one in samples if one.label == 0]
    data = EvalData(name="tiny", samples=samples, validation=good)
    settings = EvalSettings(batch_size=2, pixel_size="image", metrics=("segf1@val3sigma",))
    row = evaluate(method, data, settings, device=CPU)[0]
    maps, masks, _ = at_full_size(method, samples)
    assert row["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-6)
    assert row["pixel_ap"] == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), abs=1e-6)
    normal = at_full_size(method, good)[0].astype(np.float64)
    threshold = normal.mean() + 3 * normal.std()
    assert row["pixel_val3sigma"] == pytest.approx(threshold)
    found = maps > threshold
    assert row["segf1@val3sigma"] == pytest.approx(2 * (found & masks).sum() / (found.sum() + masks.sum()))
    assert "pixels counted at the size of the images" in row["notes"]


def test_shards_add_up(samples):
    method = build_method()
    settings = EvalSettings(pixel_size="image", metrics=("pixel_auspro",))
    whole, first, second = (
        accumulate(method, part, settings, device=CPU, with_masks=True)[0]
        for part in (samples, samples[::2], samples[1::2])
    )
    merged, expected = first.merge(second).result()["metrics"], whole.result()["metrics"]
    assert merged == pytest.approx(expected)
    assert expected["pixel_auspro"] > 0


def test_without_saturations_spro_is_not_defined_and_says_why(samples):
    samples = [replace(sample, saturations=None) for sample in samples]
    settings = EvalSettings(metrics=("pixel_auspro",))
    row = evaluate(build_method(), EvalData(name="tiny", samples=samples), settings, device=CPU)[0]
    assert math.isnan(row["pixel_auspro"])
    assert row["pixel_auroc"] > 0
    assert "pixel_auspro is undefined: of 8 masks no saturation is known" in row["notes"]


def test_a_method_that_crops_cannot_be_measured_so(samples):
    method = build_method()
    method.transform = ClipTransform(SIDE, MEAN, STD, resize="short_side")
    data = EvalData(name="tiny", samples=samples)
    for settings in (EvalSettings(pixel_size="image"), EvalSettings(metrics=("pixel_auspro",))):
        with pytest.raises(UserError, match="tiny crops its pictures"):
            evaluate(method, data, settings, device=CPU)
    assert evaluate(method, data, EvalSettings(), device=CPU)


def test_constant_memory_has_no_spro():
    with pytest.raises(UserError, match="pixel_auspro needs every score"):
        EvalSettings(metrics=("pixel_auspro",), metrics_mode="constant")


@pytest.mark.parametrize("pixel_size", ["map", "image"])
def test_kept_maps_tell_the_figures_again(samples, tmp_path, pixel_size):
    settings = EvalSettings(maps=True, pixel_size=pixel_size, metrics=("pixel_auspro", "segf1@0.5"))
    scores = []
    with RunFolder.claim("eval", "tiny", "tiny", outputs=tmp_path / "out", out=None, origin={}) as run:
        rows = evaluate(
            build_method(), EvalData(name="tiny", samples=samples), settings, device=CPU, run=run, scores=scores
        )
    kept = list(read_maps(maps_files(run, "tiny", ["dots"])["dots"]))
    assert {one.mask.shape for one in kept} == {SIZE[::-1] if pixel_size == "image" else (SIDE, SIDE)}
    assert [[defect.saturation for defect in one.defects] for one in kept[-1:]] == [list(SATURATIONS.values())]
    figures = pixel_columns(run, rows, scores, "exact")
    (columns,) = figures.columns.values()
    assert not figures.faults
    for key in ("pixel_auroc", "pixel_aupro", "pixel_auspro", "segf1@0.5"):
        assert columns[key] == pytest.approx(rows[0][key], abs=1e-12)


def test_defects_are_loaded_only_when_they_are_asked_for(samples):
    method = build_method()
    (plain,) = make_loader(samples, method.transform, batch_size=8)
    assert plain.defects is None
    (batch,) = make_loader(samples, method.transform, batch_size=8, with_defects=True, workers=1)
    assert [len(defects) for defects in batch.defects] == [2 * sample.label for sample in samples]
