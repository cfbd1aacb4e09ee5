"""Evaluation: rows, marks, protocols, pictures, and what does not change them."""

from __future__ import annotations

import math
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from adbench.data.loading import load_batch
from adbench.data.support import SupportSettings, draw_supports
from adbench.engine.accumulate import accumulate
from adbench.engine.evaluate import evaluate
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings
from adbench.engine.weights import WeightsRecord, backbone, hyperparameters
from adbench.errors import UserError
from adbench.methods.base import Prediction
from adbench.metrics import ImageMetrics, PixelMetrics
from adbench.metrics.registry import shown
from engine.tiny_engine import TinyMethod, build_method, fake_clip, write_dataset

CPU = torch.device("cpu")
SETTINGS = EvalSettings(batch_size=3)

METRICS = shown()


@pytest.fixture
def data(tmp_path):
    return EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))


def _record(method, **facts):
    known = {"method": "tiny", "hyperparameters": hyperparameters(method), "backbone": backbone(method), "data": []}
    return WeightsRecord(**{**known, **facts})


def _metrics(rows):
    return [[row[metric] for metric in METRICS] for row in rows]


def test_rows_hold_what_the_metrics_say(data):
    method = build_method()
    rows = evaluate(method, data, SETTINGS, device=CPU)

    assert [row["class_name"] for row in rows] == ["dots", "lines", "mean"]
    assert [(row["n_images"], row["n_anomalous"]) for row in rows] == [(8, 4), (8, 4), (16, 8)]
    batch = load_batch(data.samples[:8], method.transform)
    prediction = method.predict(batch)
    expected = ImageMetrics().update(prediction.scores, batch.labels).compute()
    expected |= PixelMetrics().update(prediction.maps, batch.masks).compute()
    assert {metric: rows[0][metric] for metric in METRICS} == pytest.approx(expected, abs=1e-12)
    assert rows[2]["pixel_ap"] == pytest.approx((rows[0]["pixel_ap"] + rows[1]["pixel_ap"]) / 2)
    assert rows[0] | {"method": "tiny", "backbone": "fake", "shots": 0, "zero_shot": True, "notes": []} == rows[0]


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_batch_size_and_workers_change_nothing(data, noise):
    method = build_method(noise=noise)
    alone = evaluate(method, data, EvalSettings(batch_size=1), device=CPU)

    for settings in (EvalSettings(batch_size=5), EvalSettings(batch_size=2, workers=1)):
        assert _metrics(evaluate(method, data, settings, device=CPU)) == _metrics(alone)


def test_a_class_does_not_depend_on_its_companions(data):
    method = build_method(noise=0.5)
    lines = [sample for sample in data.samples if sample.class_name == "lines"]
    alone = evaluate(method, EvalData(name="tiny", samples=lines), SETTINGS, device=CPU)

    assert _metrics(alone)[0] == _metrics(evaluate(method, data, SETTINGS, device=CPU))[1]


def test_shards_of_a_class_merge(data):
    method = build_method()
    samples = data.samples[:8]
    (whole,) = accumulate(method, samples, SETTINGS, device=CPU, with_masks=True)
    parts = [accumulate(method, samples[i::2], SETTINGS, device=CPU, with_masks=True)[0] for i in (0, 1)]

    merged = parts[0].merge(pickle.loads(pickle.dumps(parts[1]))).result()  # as from another process
    assert {**merged, "seconds": 0} == {**whole.result(), "seconds": 0}


def test_a_class_of_one_label_is_not_available_and_left_out_of_the_mean(data):
    kept = [sample for sample in data.samples if sample.class_name == "dots" or sample.label == 0]
    rows = evaluate(build_method(), EvalData(name="tiny", samples=kept), SETTINGS, device=CPU)

    assert all(math.isnan(value) for value in _metrics(rows)[1])
    assert _metrics(rows)[2] == _metrics(rows)[0]


def test_the_official_protocol_counts_zeros(data):
    kept = [sample for sample in data.samples if sample.class_name == "dots" or sample.label == 0]
    settings = replace(SETTINGS, protocol="official")
    rows = evaluate(build_method(), EvalData(name="tiny", samples=kept), settings, device=CPU)

    assert [rows[1][metric] for metric in METRICS[:-1]] == [0.0] * 6
    assert rows[2]["image_auroc"] == rows[0]["image_auroc"] / 2


@pytest.mark.parametrize(("protocol", "expected"), [("exact", math.nan), ("official", 0.0)])
def test_data_without_masks_have_no_pixel_metrics(tmp_path, protocol, expected):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path, masks=False))
    rows = evaluate(build_method(), data, replace(SETTINGS, protocol=protocol), device=CPU)

    assert rows[0]["pixel_auroc"] == pytest.approx(expected, nan_ok=True)
    assert rows[0]["image_auroc"] > 0


class MapsOnly(TinyMethod):
    def score(self, features, batch):
        return Prediction(scores=None, maps=list(super().score(features, batch).maps))


def test_a_method_without_scores_has_no_image_metrics(data):
    torch.manual_seed(0)
    rows = evaluate(MapsOnly(fake_clip()), data, replace(SETTINGS, protocol="official"), device=CPU)

    assert math.isnan(rows[0]["image_auroc"])
    assert _metrics(rows)[0][3:] == _metrics(evaluate(build_method(), data, SETTINGS, device=CPU))[0][3:]


def test_classes_that_were_trained_on_are_marked(data):
    method = build_method()
    record = _record(method, data=[{"name": "tiny", "classes": ["lines"]}, {"name": "other", "classes": ["dots"]}])
    dots, lines, mean = evaluate(method, data, SETTINGS, device=CPU, record=record)

    assert (dots["zero_shot"], lines["zero_shot"], mean["zero_shot"]) == (True, False, False)
    assert lines["notes"] == ["not zero-shot: the class was trained on"]
    assert mean["notes"] == ["not zero-shot: 1 of 2 classes were trained on"]


def test_weights_selected_on_a_class_are_marked(data):
    method = build_method()
    record = _record(method, selection={"data": [{"name": "tiny", "classes": ["dots"]}]})
    rows = evaluate(method, data, SETTINGS, device=CPU, record=record)

    assert [row["selected_on_test"] for row in rows] == [True, False, True]
    assert all(row["zero_shot"] for row in rows)


def test_weights_of_unknown_origin_are_marked(data):
    method = build_method()
    rows = evaluate(method, data, SETTINGS, device=CPU, record=_record(method, data=None))

    assert {row["zero_shot"] for row in rows} == {None}
    assert "unknown" in rows[0]["notes"][0]


class Adapting(TinyMethod):
    """Adds the mean brightness of the support to its maps, and counts what it encodes."""

    adapts = True
    encoded = 0

    def encode(self, batch):
        self.encoded += len(batch)
        return super().encode(batch)

    def adapt(self, class_name, support, features=None):
        self.memory_bank[class_name] = features["patches"].mean(), len(support)

    def score(self, features, batch):
        prediction = super().score(features, batch)
        offsets = torch.stack([self.memory_bank.get(name, (torch.zeros(()), 0))[0] for name in batch.class_names])
        return Prediction(scores=prediction.scores * offsets, maps=prediction.maps + offsets[:, None, None])


def build_adapting(**facts):
    torch.manual_seed(0)
    method = Adapting(fake_clip())
    for name, value in facts.items():
        setattr(method, name, value)
    return method


@pytest.fixture
def train_pool(tmp_path):
    samples = write_dataset(tmp_path / "train", n_normal=6, n_anomalous=0, seed=1)
    return [replace(sample, split="train") for sample in samples]


def with_supports(data, pool, **settings):
    pools = {name: [sample for sample in pool if sample.class_name == name] for name in data.classes}
    return replace(data, supports=draw_supports(SupportSettings(**settings), pools, dataset="tiny"))


def test_every_k_and_seed_gives_rows_and_seeds_are_summarised(data, train_pool):
    data = with_supports(data, train_pool, k=(0, 1, 2), seed=(0, 1, 2))
    rows = evaluate(build_adapting(), data, SETTINGS, device=CPU)

    single = [row for row in rows if row["support_seed"] != "mean"]
    assert [(row["shots"], row["support_seed"]) for row in single[::3]] == [
        (0, None),
        *((k, seed) for k in (1, 2) for seed in (0, 1, 2)),
    ]
    summary = [row for row in rows if row["support_seed"] == "mean"]
    assert [(row["shots"], row["class_name"]) for row in summary] == [
        (k, name) for k in (1, 2) for name in ("dots", "lines", "mean")
    ]
    values = [row["image_auroc"] for row in single if (row["shots"], row["class_name"]) == (2, "mean")]
    assert summary[-1]["image_auroc"] == pytest.approx(np.mean(values))
    assert summary[-1]["image_auroc_std"] == pytest.approx(np.std(values, ddof=1))
    assert summary[-1]["n_support_seeds"] == 3


def test_images_are_encoded_once_whatever_the_number_of_sets(data, train_pool):
    method = build_adapting()
    evaluate(method, with_supports(data, train_pool, k=(1, 2, 6), seed=(0, 1)), SETTINGS, device=CPU)

    assert method.encoded == len(data.samples) + 2 * 6
    assert method.memory_bank == {}


def test_a_set_gives_the_same_rows_alone_and_in_a_sweep(data, train_pool):
    alone = evaluate(
        build_adapting(noise=0.5), with_supports(data, train_pool, k=(2,), seed=(1,)), SETTINGS, device=CPU
    )
    sweep = with_supports(data, train_pool, k=(1, 2), seed=(0, 1))
    among = evaluate(build_adapting(noise=0.5), sweep, SETTINGS, device=CPU)

    chosen = [row for row in among if (row["shots"], row["support_seed"]) == (2, 1)]
    assert np.allclose(_metrics(chosen), _metrics(alone), atol=1e-6)
    assert [row["support_id"] for row in chosen] == [row["support_id"] for row in alone]


@pytest.mark.parametrize(
    ("facts", "settings", "message"),
    [
        ({"adapts": False}, {"k": (1,)}, "takes no support images"),
        ({"needs_support": True}, {"k": (0, 1)}, "compares with normal images of each class"),
    ],
)
def test_support_that_a_method_cannot_use_or_do_without(data, train_pool, facts, settings, message):
    with pytest.raises(UserError, match=message):
        evaluate(build_adapting(**facts), with_supports(data, train_pool, **settings), SETTINGS, device=CPU)


def test_support_must_not_be_scored(data, train_pool):
    leaking = with_supports(replace(data, samples=[*data.samples, *train_pool]), train_pool, k=(1,))
    with pytest.raises(UserError, match="is also one to be scored"):
        evaluate(build_adapting(), leaking, SETTINGS, device=CPU)


class Broken(TinyMethod):
    def score(self, features, batch):
        prediction = super().score(features, batch)
        return Prediction(scores=prediction.scores, maps=prediction.maps / 0 * 0)


def test_a_prediction_that_is_nan_names_the_images(data):
    with pytest.raises(UserError, match=r"NaN.*tiny: dots/000\.png to dots/002\.png"):
        evaluate(Broken(fake_clip()), data, SETTINGS, device=CPU)


def test_constant_memory_says_how_exact_it_is(data):
    rows = evaluate(build_method(), data, replace(SETTINGS, metrics_mode="constant"), device=CPU)
    exact = evaluate(build_method(), data, SETTINGS, device=CPU)

    assert "constant memory: exact to" in rows[0]["notes"][0]
    assert rows[0]["pixel_auroc"] == pytest.approx(exact[0]["pixel_auroc"], abs=1e-3)


def test_classes_too_large_to_be_exact_say_so(data, monkeypatch):
    monkeypatch.setitem(PixelMetrics.__init__.__kwdefaults__, "exact_limit", 0)
    rows = evaluate(build_method(), data, SETTINGS, device=CPU)
    constant = evaluate(build_method(), data, replace(SETTINGS, metrics_mode="constant"), device=CPU)

    assert "constant memory: exact to" in rows[0]["notes"][0]
    assert rows[0]["pixel_aupro"] == pytest.approx(constant[0]["pixel_aupro"], abs=1e-12)
    exact = evaluate(build_method(), data, replace(SETTINGS, metrics_mode="exact"), device=CPU)
    assert "notes" not in exact[0] or not exact[0]["notes"]


def test_pictures_show_the_most_anomalous_and_the_most_suspect_normal(data, tmp_path):
    seen = []

    def painter(picture):
        seen.append(picture)
        return Image.new("RGB", (8, 8))

    run = RunFolder.create("eval", "tiny", "tiny", out=tmp_path / "run")
    method = build_method()
    rows = evaluate(method, data, replace(SETTINGS, heat_maps=2), device=CPU, run=run, painter=painter)

    assert {picture.image_threshold for picture in seen[:4]} == {rows[0]["image_f1max_threshold"]}
    assert {picture.pixel_threshold for picture in seen[:4]} == {rows[0]["pixel_f1max_threshold"]}
    assert seen[0].size == Image.open(data.samples[0].path).size[::-1]
    scores = method.predict(load_batch(data.samples[:8], method.transform)).scores.numpy()
    ranked = [index for index in np.argsort(-scores) if index >= 4]
    best, worst = ranked[:2], ranked[-1]
    assert [picture.key for picture in seen[:4]] == [
        *(data.samples[index].key for index in [*best, worst]),
        data.samples[int(scores[:4].argmax())].key,
    ]
    original = np.asarray(Image.open(data.samples[best[0]].path))
    assert np.array_equal(seen[0].image, original)
    files = sorted(path.relative_to(run.heatmaps_dir).as_posix() for path in run.heatmaps_dir.rglob("*.png"))
    assert len(files) == 2 * (4 + 1)
    assert files[0] == "tiny/dots.png"
    assert files[1] == f"tiny/dots/00_anomalous_{best[0]:03d}.png"

    evaluate(build_method(), data, SETTINGS, device=CPU, run=RunFolder.create("eval", "tiny", "tiny", out=run.path))
    assert len(list(run.heatmaps_dir.rglob("*.png"))) == 2 * (4 + 1)  # classes that were kept keep their pictures
    shutil.rmtree(run.classes_dir)
    evaluate(build_method(), data, SETTINGS, device=CPU, run=run, painter=painter)
    assert not list(run.heatmaps_dir.rglob("*.png"))


def test_rows_note_masks_that_mark_nothing_or_everything(data):
    size = Image.open(data.samples[4].mask_path).size
    for sample, value in ((data.samples[4], 0), (data.samples[6], 0), (data.samples[12], 255)):
        Image.new("L", size, value).save(sample.mask_path)
    dots, lines, mean = evaluate(build_method(), data, EvalSettings(batch_size=3, workers=1), device=CPU)

    assert dots["notes"] == ["2 of 4 masks of anomalous images mark nothing (empty), first dots/004.png"]
    assert lines["notes"] == ["1 of 4 masks of anomalous images mark the whole picture (full), first lines/004.png"]
    assert mean["notes"] == dots["notes"] + lines["notes"]
