"""Training data without masks, or with some: counted, said and kept out of the pixel losses."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from adbench.data.episodes import Episode
from adbench.data.loading import make_episode_loader
from adbench.engine.evaluate import evaluate
from adbench.engine.progress import Quiet
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.engine.train_batches import TrainBatches
from adbench.engine.train_logger import read_history
from adbench.engine.weights import read_record
from adbench.errors import UserError
from engine.tiny_engine import build_method, write_dataset

CPU = torch.device("cpu")
NONE = "no anomalous training image has a mask: trained without pixel losses, maps are a by-product"


class Heard(Quiet):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def settings(**changes):
    return TrainSettings(**{"batch_size": 4, "seed": 1, "cache": "off", "optimizer": OptimizerSpec(lr=0.1)} | changes)


def run(tmp_path, samples, method=None, name="run", **changes):
    heard, folder = Heard(), RunFolder.create("train", "tiny", "tiny", out=tmp_path / name)
    method = method or build_method()
    data = [TrainData(name="tiny", samples=samples)]
    result = train(method, data, settings(**changes), folder, device=CPU, reporter=heard)
    return method, result, folder, heard.said


def without(samples, *numbers):
    """The samples, the anomalous ones of these numbers without their masks."""
    anomalous = [sample for sample in samples if sample.label]
    bare = {anomalous[number].key for number in numbers}
    return [replace(sample, mask_path=None) if sample.key in bare else sample for sample in samples]


def test_without_masks_it_is_said_at_the_start_in_the_record_and_in_every_row(tmp_path):
    samples = write_dataset(tmp_path / "data", masks=False)
    method, _, folder, said = run(tmp_path, samples)
    assert f"note         {NONE}" in said
    assert json.loads((folder.path / "weights.json").read_text())["remarks"] == [NONE]
    rows = evaluate(
        method, EvalData(name="tiny", samples=samples), EvalSettings(), device=CPU, record=read_record(folder.path)
    )
    assert len(rows) == 3
    assert all(NONE in row["notes"] for row in rows)
    (epoch,) = [point for point in read_history(folder.history_path) if point["kind"] == "epoch"]
    assert "image" in epoch
    assert "pixel" not in epoch


def test_with_all_masks_nothing_is_said(tmp_path):
    _, result, _, said = run(tmp_path, write_dataset(tmp_path / "data"))
    assert result.record.remarks == []
    assert not any("mask" in line for line in said)


def test_some_missing_masks_are_counted_and_their_content_changes_nothing(tmp_path):
    whole = write_dataset(tmp_path / "data")
    _, result, _, _ = run(tmp_path, without(whole, 0, 5))
    assert result.record.remarks == [
        "2 of 8 anomalous training images have no mask: pixel losses are of the other images"
    ]


@pytest.mark.parametrize("cache", ["off", "ram"])
def test_batches_tell_which_masks_are_known(tmp_path, cache):
    samples = without(write_dataset(tmp_path / "data"), 1)
    method = build_method()
    method.features_suffice = True
    feed = TrainBatches(method, samples, settings(cache=cache, epochs=2), device=CPU, reporter=Quiet())
    known = {path: one for _, batch, _ in feed.epoch(0) for path, one in zip(batch.paths, batch.annotated, strict=True)}
    assert [path for path, one in known.items() if not one] == ["dots/005.png"]
    assert len(known) == 16


def test_as_normal_is_what_the_authors_code_does(tmp_path):
    samples = write_dataset(tmp_path / "data", masks=False)
    feed = TrainBatches(build_method(), samples, settings(unannotated="as_normal"), device=CPU, reporter=Quiet())
    for _, batch, _ in feed.epoch(0):
        assert batch.masks.shape == (4, 16, 16)
        assert not batch.masks.any()
        assert batch.annotated is None
    _, result, _, _ = run(tmp_path, samples, unannotated="as_normal")
    (remark,) = result.record.remarks
    assert remark.startswith("trained on wrong masks: 8 of 8 anomalous training images have no mask")


def test_a_method_that_learns_from_masks_only_refuses(tmp_path):
    method = build_method()
    method.learns_from_masks = "only"
    with pytest.raises(UserError, match="learns from masks only, and no training image has one"):
        run(tmp_path, write_dataset(tmp_path / "data", masks=False), method)


def test_a_method_that_reads_no_masks_says_nothing(tmp_path):
    method = build_method()
    method.learns_from_masks = "not"
    _, result, _, _ = run(tmp_path, write_dataset(tmp_path / "data", masks=False), method)
    assert result.record.remarks == []


def test_a_mosaic_is_annotated_where_all_of_its_parts_are(tmp_path):
    samples = write_dataset(tmp_path / "data", classes=("dots",), n_normal=2, n_anomalous=2)
    transform, all_four = build_method().transform, [Episode(tuple(range(4)))]
    loader = make_episode_loader(samples, transform, all_four, mosaic={"tiny": 1.0})
    assert [one for batch in loader for one in batch.annotated] == [True] * 4
    loader = make_episode_loader(without(samples, 0), transform, all_four, mosaic={"tiny": 1.0})
    assert [one for batch in loader for one in batch.annotated] == [False] * 4  # four of four: each holds the bare one


def test_means_over_an_epoch_count_images_and_only_those_steps_that_had_the_term(tmp_path):
    from adbench.engine.checkpoint import Averages

    means = Averages()
    means.add({"image": 1.0, "pixel": 4.0}, 1)
    means.add({"image": 2.0}, 3)
    assert means.take() == {"image": 1.75, "pixel": 4.0}
    assert means.take() == {}
