"""Training with support images per query: kept features, resuming to the bit, refusals, and evaluation afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from adbench.data.support import SupportSettings, draw_supports
from adbench.engine.evaluate import evaluate
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.errors import UserError
from adbench.methods import build
from engine.tiny_engine import build_method, write_dataset
from tiny import make_tiny_clip

CPU = torch.device("cpu")
SETTINGS = TrainSettings(
    epochs=2,
    batch_size=4,
    optimizer=OptimizerSpec(lr=1e-3),
    sampler="balanced",
    steps_per_epoch=4,
    shots=2,
    checkpoint_steps=1,
    log_every=2,
)


def with_support(data, tmp_path, **settings):
    pool = [replace(sample, split="train") for sample in write_dataset(tmp_path / "pool", seed=5, n_anomalous=0)]
    pools = {name: [one for one in pool if one.class_name == name] for name in data.classes}
    return replace(data, supports=draw_supports(SupportSettings(**settings), pools, dataset="tiny"))


@pytest.fixture
def samples(tmp_path):
    return write_dataset(tmp_path / "data", masks=False)


def make_method(**settings):
    torch.manual_seed(0)
    return build("inctrl", make_tiny_clip(), out_layers=(2, 3), **settings)


def run_training(method, samples, folder, settings=SETTINGS, **more):
    run = RunFolder.create("train", "inctrl", "tiny", out=folder)
    return train(method, [TrainData(name="tiny", samples=samples)], settings, run, device=CPU, **more)


class Stopped(Exception):
    pass


def stop_in_loss(method, number):
    loss = method.loss

    def counting(features, batch):
        nonlocal number
        number -= 1
        if number == 0:
            raise Stopped
        return loss(features, batch)

    method.loss = counting
    return method


@pytest.mark.parametrize("cache", ["ram", "disk", "off"])
def test_a_stopped_training_ends_with_the_same_weights(tmp_path, samples, cache):
    settings = replace(SETTINGS, cache=cache, cache_dir=str(tmp_path / "cache"))
    whole = make_method()
    run_training(whole, samples, tmp_path / "whole", settings)
    with pytest.raises(Stopped):
        run_training(stop_in_loss(make_method(), 6), samples, tmp_path / "torn", settings)
    torn = make_method()
    run_training(torn, samples, tmp_path / "torn", settings)

    assert (tmp_path / "torn/weights.safetensors").read_bytes() == (tmp_path / "whole/weights.safetensors").read_bytes()
    assert all(torch.equal(v, torn.state_dict()[k]) for k, v in whole.state_dict().items())


def test_kept_features_train_the_same_weights_and_are_encoded_once(tmp_path, samples):
    found = {}
    for cache in ("ram", "off"):
        # In float64: batches of another size round differently in float32, and Adam turns that into whole steps.
        method, counted = make_method(), []
        method.clip.double()
        method.double()
        encode = method.encode
        method.encode = lambda batch, encode=encode, counted=counted: counted.append(len(batch)) or encode(batch)
        run_training(method, samples, tmp_path / cache, replace(SETTINGS, cache=cache))
        found[cache] = method.state_dict()
        if cache == "ram":
            assert sum(counted) <= len(samples)
    for name, value in found["ram"].items():
        torch.testing.assert_close(value, found["off"][name], atol=1e-8, rtol=0)


def test_no_support_or_too_few_normals_are_refused(tmp_path, samples):
    with pytest.raises(UserError, match="K is 0"):
        run_training(make_method(), samples, tmp_path / "a", replace(SETTINGS, shots=0))
    with pytest.raises(UserError, match="has 4 normal images to train with, every query needs 4 others"):
        run_training(make_method(), samples, tmp_path / "b", replace(SETTINGS, shots=4))


def test_a_method_that_takes_no_support_refuses_it(tmp_path, samples):
    run = RunFolder.create("train", "tiny", "tiny", out=tmp_path / "run")
    settings = TrainSettings(batch_size=4, shots=1)
    with pytest.raises(UserError, match="takes no support images"):
        train(build_method(), [TrainData(name="tiny", samples=samples)], settings, run, device=CPU)


def test_trained_weights_are_evaluated_with_support_sets(tmp_path, samples):
    data = with_support(EvalData(name="tiny", samples=samples), tmp_path, k=(1, 2), seed=(0, 1))
    method = make_method()
    result = run_training(method, samples, tmp_path / "run", validation=[data])
    rows = evaluate(method, data, EvalSettings(batch_size=3), device=CPU, record=result.record)
    assert [(row["shots"], row["support_seed"]) for row in rows if row["class_name"] == "mean"] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
        (1, "mean"),
        (2, "mean"),
    ]
    assert all(row["zero_shot"] is False for row in rows)
    with pytest.raises(UserError, match="compares with normal images of each class"):
        evaluate(method, replace(data, supports={}), EvalSettings(), device=CPU)


@pytest.mark.parametrize("layout", ["corrected", "official"])
def test_results_do_not_depend_on_the_batch_size(tmp_path, samples, layout):
    data = with_support(EvalData(name="tiny", samples=samples), tmp_path, k=(2,))
    method = make_method(batch_layout=layout)
    tables = [evaluate(method, data, EvalSettings(batch_size=size), device=CPU) for size in (1, 5)]
    values = [[row["image_auroc"] for row in rows] for rows in tables]
    assert values[0] == values[1]
