"""Road data through the engine: labels at their own size, pooled metrics, kinds of training."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adbench.data.sample import Sample
from adbench.data.segmentation import SegmentationTransform
from adbench.engine.accumulate import accumulate
from adbench.engine.accumulators import ClassAccumulator
from adbench.engine.evaluate import evaluate
from adbench.engine.pictures import Shortlist
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, MetricSet, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.errors import UserError
from adbench.methods.base import Prediction
from adbench.metrics import ROAD_METRICS, RoadMetrics
from adbench.report.heatmaps import paint
from adbench.report.results import read_results, to_markdown, write_results
from engine.tiny_engine import MEAN, STD, TinyMethod, build_method, fake_clip

CPU = torch.device("cpu")
ROAD = MetricSet(name="road", min_pred=6, min_gt=4)
IDS = {0: 0, 1: 1, 255: 255}
SIZES = [(24, 40), (24, 40), (30, 48), (24, 40), (24, 40)]


class SceneMethod(TinyMethod):
    """Brightness as anomaly map at each image's own size; no image score."""

    name = "scene"
    supervision = "segmentation"

    def __init__(self, clip):
        super().__init__(clip)
        self.transform = SegmentationTransform(mean=MEAN, std=STD, short_side=16, long_side=64, multiple=8)
        self.seen = []

    def score(self, features, batch):
        self.seen.append(batch)
        maps = []
        for image, (height, width) in zip(batch.images, batch.sizes, strict=True):
            h, w = self.transform.content_size(height, width)
            content = image.mean(0)[None, None, :h, :w]
            maps.append(torch.nn.functional.interpolate(content, size=(height, width), mode="bilinear")[0, 0])
        return Prediction(scores=None, maps=maps)

    def loss(self, features, batch):
        return {"pixel": (batch.targets != 255).float().mean() * self.head.weight.sum() ** 2}


def scenes(root: Path, *, held_back: tuple[int, ...] = ()) -> list[Sample]:
    """Grey scenes with a bright square, labelled 1, in every second one; the upper rows are unknown."""
    samples = []
    for number, (height, width) in enumerate(SIZES):
        random = np.random.default_rng(number)
        pixels = random.integers(60, 120, (height, width, 3), dtype=np.uint8)
        labels = np.zeros((height, width), np.uint8)
        labels[:4] = 255
        if number % 2:
            labels[10:18, 12:22] = 1
            pixels[10:18, 12:22] += 100
        pixels[:3] = 250  # brighter than anything, but unknown
        image, file = root / f"{number}.png", root / f"{number}_labels.png"
        root.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(image)
        Image.fromarray(labels).save(file)
        mask = None if number in held_back else file
        samples.append(Sample(image, image.name, "road", -1, mask, "val", "anomaly", "made", label_ids=IDS))
    return samples


def new_run(folder: Path) -> RunFolder:
    return RunFolder.create("train", "scene", "made", outputs=folder.parent, out=folder)


def road_data(root: Path, **more) -> EvalData:
    return EvalData(name="made", samples=scenes(root), metric_set=ROAD, **more)


def test_rows_of_road_data_carry_road_metrics(tmp_path):
    method = SceneMethod(fake_clip())
    rows = evaluate(method, road_data(tmp_path, note="validation figures"), EvalSettings(batch_size=4), device=CPU)
    assert [row["class_name"] for row in rows] == ["road", "mean"]
    row = rows[0]
    assert [key for key in row if key.startswith(("pixel", "image_", "component"))] == list(ROAD_METRICS)
    assert (row["n_images"], row["n_anomalous"]) == (5, 2)
    assert row["notes"] == rows[1]["notes"] == ["validation figures"]
    assert row["pixel_auroc"] > 0.95
    assert row["pixel_fpr95"] < 0.1
    assert row["component_f1"] > 0.5

    seen = list(method.seen)
    maps = [map_.numpy() for batch in seen for map_ in method.score({}, batch).maps]
    masks = [mask.numpy() for batch in seen for mask in batch.label_maps]
    expected = RoadMetrics(min_pred=6, min_gt=4).update(maps, masks).compute()
    assert {key: row[key] for key in ROAD_METRICS} == pytest.approx(expected)


def test_results_depend_neither_on_batches_nor_on_shards(tmp_path):
    data, settings = road_data(tmp_path), EvalSettings(batch_size=4)
    rows = [evaluate(SceneMethod(fake_clip()), data, replace(settings, batch_size=size), device=CPU) for size in (1, 4)]
    assert all(rows[0][0][key] == pytest.approx(rows[1][0][key]) for key in ROAD_METRICS)
    first, second = (
        accumulate(SceneMethod(fake_clip()), part, settings, device=CPU, with_masks=True, metric_set=ROAD)[0]
        for part in (data.samples[:2], data.samples[2:])
    )
    merged = first.merge(second).result()
    assert merged["n_anomalous"] == 2
    assert merged["metrics"] == pytest.approx({key: rows[0][0][key] for key in ROAD_METRICS})


def test_both_protocols_are_known_and_named(tmp_path):
    rows = {
        protocol: evaluate(SceneMethod(fake_clip()), road_data(tmp_path), EvalSettings(protocol=protocol), device=CPU)[
            0
        ]
        for protocol in ("exact", "smiyc")
    }
    assert rows["smiyc"]["protocol"] == "smiyc"
    assert ClassAccumulator(EvalSettings(protocol="smiyc"), ROAD).road_metrics.protocol == "smiyc"
    assert rows["exact"]["pixel_ap"] == pytest.approx(rows["smiyc"]["pixel_ap"], abs=0.05)


def test_maps_of_a_square_method_are_resized_to_the_labels(tmp_path):
    row = evaluate(build_method(), road_data(tmp_path), EvalSettings(batch_size=4), device=CPU)[0]
    assert not math.isnan(row["pixel_ap"])
    assert [key for key in row if key.startswith("image_")][:3] == ["image_auroc", "image_ap", "image_f1max"]

    map_, labels = torch.rand(1, 8, 8), torch.zeros(1, 16, 24, dtype=torch.int64)
    labels[0, 4:8, 4:9] = 1
    from adbench.data.sample import Batch

    batch = Batch(torch.zeros(1, 3, 8, 8), torch.ones(1, dtype=torch.int64), ["road"], ["a"], "made", labels)
    totals = ClassAccumulator(EvalSettings(), ROAD)
    totals.update(Prediction(scores=None, maps=map_), batch)
    resized = torch.nn.functional.interpolate(map_[None], size=(16, 24), mode="bilinear", align_corners=False)[0]
    expected = RoadMetrics(min_pred=6, min_gt=4).update(resized.numpy(), labels.numpy()).compute()
    assert totals.result()["metrics"] == pytest.approx(expected, nan_ok=True)


def test_labels_that_are_held_back_are_not_counted_as_normal(tmp_path):
    data = EvalData(name="made", samples=scenes(tmp_path, held_back=(1, 4)), metric_set=ROAD)
    row = evaluate(SceneMethod(fake_clip()), data, EvalSettings(), device=CPU)[0]
    assert row["n_anomalous"] is None
    assert row["notes"] == ["the labels of 2 of 5 images are held back"]
    assert not math.isnan(row["pixel_ap"])
    unknown = EvalData(name="made", samples=scenes(tmp_path, held_back=(0, 1, 2, 3, 4)), metric_set=ROAD)
    row = evaluate(SceneMethod(fake_clip()), unknown, EvalSettings(), device=CPU)[0]
    assert all(math.isnan(row[key]) for key in ROAD_METRICS)


def test_what_cannot_be_measured_is_refused(tmp_path):
    class Blind(SceneMethod):
        name = "blind"

        def score(self, features, batch):
            return Prediction(scores=torch.zeros(len(batch)), maps=None)

    class Cropping(TinyMethod):
        name = "cropping"

        def __init__(self, clip):
            super().__init__(clip)
            self.transform = replace(self.transform, resize="short_side")

    data = road_data(tmp_path)
    cases = [
        (Blind(fake_clip()), EvalSettings(), "gives no anomaly maps"),
        (Cropping(fake_clip()), EvalSettings(), "method cropping crops its pictures"),
        (build_method(), EvalSettings(protocol="official"), "protocol official is not for road data"),
        (build_method(), EvalSettings(metrics_mode="constant"), "are measured exactly"),
    ]
    for method, settings, text in cases:
        with pytest.raises(UserError, match=text):
            evaluate(method, data, settings, device=CPU)
    plain = [replace(sample, label_ids=None, label=0, mask_path=None) for sample in data.samples]
    with pytest.raises(UserError, match="protocol smiyc is for road data"):
        evaluate(build_method(), EvalData(name="plain", samples=plain), EvalSettings(protocol="smiyc"), device=CPU)


def test_a_nan_names_the_image(tmp_path):
    class Broken(SceneMethod):
        def score(self, features, batch):
            maps = [torch.full(size, math.nan) for size in batch.sizes]
            return Prediction(scores=None, maps=maps)

    with pytest.raises(UserError, match=r"NaN.*made: 0\.png"):
        evaluate(Broken(fake_clip()), road_data(tmp_path), EvalSettings(), device=CPU)


def test_results_and_pictures_are_written(tmp_path):
    run = RunFolder.create("eval", "scene", "made", outputs=tmp_path / "out")
    rows = evaluate(
        SceneMethod(fake_clip()),
        road_data(tmp_path / "data"),
        EvalSettings(heat_maps=2),
        device=CPU,
        run=run,
        painter=paint,
    )
    write_results(run.path, rows, {})
    _, again = read_results(run.path)
    assert again[0]["pixel_fpr95"] == rows[0]["pixel_fpr95"]
    table = to_markdown(rows).splitlines()
    assert table[0].split(" | ")[-6:] == [
        *("pixel AUROC", "pixel AP", "pixel FPR95", "component sIoU", "component PPV", "component F1 |"),
    ]
    pictures = sorted(path.name for path in (run.heatmaps_dir / "made/road").glob("*.png"))
    assert [name.split("_")[1] for name in pictures] == ["anomalous", "anomalous", "normal"]
    assert json.loads((run.path / "results.json").read_text())["rows"][0]["n_anomalous"] == 2


def test_pictures_leave_padding_and_unknown_pixels_out(tmp_path):
    method = SceneMethod(fake_clip())
    shortlist = Shortlist(1, method)
    samples = scenes(tmp_path, held_back=(3,))[2:4]
    accumulate(method, samples, EvalSettings(), device=CPU, with_masks=True, metric_set=ROAD, shortlist=shortlist)
    normal, unknown = shortlist.pictures()
    assert (normal.label, unknown.label) == (0, -1)
    assert normal.image.shape[:2] == method.transform.content_size(30, 48)
    assert not normal.mask.any()
    assert unknown.mask is None
    assert paint(unknown).width > 0


def test_a_method_trains_only_on_what_it_learns_from(tmp_path):
    samples = scenes(tmp_path / "data")
    settings = TrainSettings(epochs=1, batch_size=2)

    def attempt(method, supervision, name):
        data = [TrainData(name=name, samples=samples, supervision=supervision)]
        return train(method, data, settings, new_run(tmp_path / name), device=CPU)

    with pytest.raises(UserError, match="learns from label maps of classes, and data set a holds labels and masks"):
        attempt(SceneMethod(fake_clip()), "anomaly", "a")
    with pytest.raises(UserError, match="learns from labels and masks of anomalies, and data set b holds label maps"):
        attempt(build_method(), "segmentation", "b")
    with pytest.raises(UserError, match="data set c is for evaluation only"):
        attempt(build_method(), "none", "c")


def test_a_segmentation_method_trains_on_label_maps(tmp_path):
    from adbench.data.segmentation import Augmentation

    method = SceneMethod(fake_clip())
    method.transform = replace(method.transform, augmentation=Augmentation(short_sides=(16, 20), crop=(16, 24)))
    data = [TrainData(name="made", samples=scenes(tmp_path / "data"), supervision="segmentation")]
    result = train(method, data, TrainSettings(epochs=2, batch_size=2), new_run(tmp_path / "run"), device=CPU)
    assert result.steps == 6


def test_weights_can_be_selected_by_a_road_metric(tmp_path):
    method = SceneMethod(fake_clip())
    data = [TrainData(name="made", samples=scenes(tmp_path / "data")[:2], supervision="segmentation")]
    settings = TrainSettings(epochs=1, batch_size=1, select="best_on_test", select_metric="pixel_ap")
    run = new_run(tmp_path / "run")
    result = train(method, data, settings, run, device=CPU, validation=[road_data(tmp_path / "val")])
    assert result.record.selection["metric"] == "pixel_ap"
    bad = replace(settings, select_metric="pixel_aupro")
    with pytest.raises(UserError, match="pixel_aupro, which is n/a"):
        train(method, data, bad, new_run(tmp_path / "bad"), device=CPU, validation=[road_data(tmp_path / "val")])
