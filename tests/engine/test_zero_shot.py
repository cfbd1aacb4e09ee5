"""What weights have seen: by name where names mean something, by the very pictures everywhere."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from adbench.engine.evaluate import evaluate
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.engine.weights import WeightsRecord, read_record
from adbench.engine.zero_shot import find_overlap, pictures
from adbench.errors import UserError
from engine.tiny_engine import build_method, write_dataset

CPU = torch.device("cpu")


def trained(tmp_path, samples, name, *, out="run", validation=(), **changes):
    run = RunFolder.create("train", "tiny", name, out=tmp_path / out)
    settings = TrainSettings(batch_size=8, **changes)
    train(build_method(), [TrainData(name=name, samples=samples)], settings, run, device=CPU, validation=validation)
    return read_record(run.path)


def evaluated(record, samples, name):
    return evaluate(build_method(), EvalData(name=name, samples=samples), EvalSettings(), device=CPU, record=record)


def judged(record, samples, name):
    """zero_shot and what is said of it, per row."""
    rows = evaluated(record, samples, name)
    return [(row["zero_shot"], [note for note in row["notes"] if "trained" in note]) for row in rows]


@pytest.fixture
def samples(tmp_path):
    return write_dataset(tmp_path / "one")


@pytest.fixture
def others(tmp_path):
    return write_dataset(tmp_path / "two", seed=5)


@pytest.mark.parametrize("name", ["folder", "mvtec", "road_demo", "mine"])
def test_the_very_pictures_are_recognised_under_any_name_and_in_any_place(tmp_path, samples, name):
    record = trained(tmp_path, samples, "visa")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    copies = [replace(one, path=tmp_path / "copy" / one.key, class_name=f"x{one.class_name}") for one in samples]
    assert judged(record, copies, name) == [
        (False, ["not zero-shot: 8 of these 8 pictures were trained on"]),
        (False, ["not zero-shot: 8 of these 8 pictures were trained on"]),
        (False, ["not zero-shot: 16 of these 16 pictures were trained on"]),
    ]


def test_one_picture_among_others_is_enough(tmp_path, samples, others):
    record = trained(tmp_path, samples, "visa")
    mixed = [replace(others[0], path=samples[3].path), *others[1:]]
    found = judged(record, mixed, "mine")
    assert found[0] == (False, ["not zero-shot: 1 of these 8 pictures were trained on"])
    assert found[1] == (True, [])
    assert find_overlap(record, mixed).trained == {"dots": 1}


@pytest.mark.parametrize("name", ["folder", "meta", "mine"])
def test_other_pictures_of_ones_own_under_the_same_class_name_are_not_what_was_trained_on(
    tmp_path, samples, others, name
):
    record = trained(tmp_path, samples, name)
    said = f"trained on other pictures of {name} under the same class name: "
    assert judged(record, others, name) == [
        (True, [said + "dots"]),
        (True, [said + "lines"]),
        (True, [said + "dots, lines"]),
    ]


def test_a_class_of_a_published_set_is_the_same_whatever_its_pictures(tmp_path, samples, others):
    record = trained(tmp_path, samples, "mvtec")
    assert judged(record, others, "mvtec")[0] == (False, ["not zero-shot: the class was trained on"])
    assert judged(record, others, "visa")[0] == (True, [])


def test_scenes_are_told_by_their_pictures_alone(tmp_path, samples, others):
    record = trained(tmp_path, samples, "road_demo")
    assert judged(record, others, "road_demo")[0] == (True, [])


def test_a_record_without_hashes_is_judged_by_names(samples):
    part = {"name": "folder", "classes": ["lines"], "n_images": 3, "fingerprint": "f"}
    record = WeightsRecord(method="tiny", hyperparameters={}, backbone={}, data=[part])
    assert [zero_shot for zero_shot, _ in judged(record, samples, "folder")] == [True, False, False]


def test_pictures_that_selected_the_weights_are_recognised_under_another_name(tmp_path, samples, others):
    validation = [EvalData(name="mine", samples=others)]
    record = trained(tmp_path, samples, "visa", validation=validation, select="best_on_test")
    rows = evaluated(record, others, "elsewhere")
    assert all(row["selected_on_test"] for row in rows)
    assert "not held out: 8 of these 8 pictures were used to select the weights" in rows[0]["notes"]
    assert not any(row["selected_on_test"] for row in evaluated(record, samples, "elsewhere"))


def test_what_the_weights_were_started_from_counts_too(tmp_path, samples, others):
    trained(tmp_path, samples, "visa", out="first")
    second = trained(tmp_path, others, "mpdd", out="second", init_from=str(tmp_path / "first"))
    third = trained(tmp_path, others, "btad", out="third", init_from=str(tmp_path / "second"))
    for record in (second, third):
        rows = evaluated(record, samples, "mine")
        assert rows[0]["zero_shot"] is False
        assert "visa" in rows[0]["trained_on"]
    unknown = replace(second, start={"sha256": "0" * 64, "data": None})
    row = evaluated(unknown, write_dataset(tmp_path / "new", seed=9), "mine")[0]
    assert (row["zero_shot"], row["trained_on"]) == (None, None)
    assert evaluated(unknown, others, "mine")[0]["zero_shot"] is False


def test_hashes_take_eight_characters_per_picture_and_damage_is_said(samples):
    packed = pictures([*samples, samples[0]])
    assert len(packed) == 8 * 16
    part = {"name": "folder", "classes": ["dots"], "n_images": 3, "fingerprint": "f", "images": "?" + packed}
    record = WeightsRecord(method="tiny", hyperparameters={}, backbone={}, data=[part])
    with pytest.raises(UserError, match="hashes of training images in the weights are damaged"):
        find_overlap(record, samples)
