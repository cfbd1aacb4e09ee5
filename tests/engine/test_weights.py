"""Weights files know what they are, and refuse to be loaded where they do not belong."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from adbench.engine.run_folder import RunFolder
from adbench.engine.weights import WeightsRecord, backbone, hyperparameters, load_weights, read_record, save_weights
from adbench.errors import UserError
from engine.tiny_engine import TinyMethod, build_method, fake_clip


@pytest.fixture
def method():
    return build_method()


@pytest.fixture
def run(tmp_path, method):
    run = RunFolder.create("train", "tiny", "demo", out=tmp_path / "run")
    record = WeightsRecord(
        method="tiny",
        hyperparameters=hyperparameters(method),
        backbone=backbone(method),
        data=[{"name": "demo", "classes": ["bolt"], "n_images": 3, "fingerprint": "f"}],
        seed=7,
        epoch=2,
        step=10,
    )
    save_weights(method, run.weights_path, record)
    return run


@pytest.mark.parametrize("kind", ["run folder", "file", "file elsewhere"])
def test_weights_are_found_and_loaded(run, method, tmp_path, kind):
    path = run.path if kind == "run folder" else run.weights_path
    if kind == "file elsewhere":
        path = shutil.copy(path, tmp_path / "mine.safetensors")
    other = build_method(seed=4)
    record = load_weights(other, path)

    assert torch.equal(other.head.weight, method.head.weight)
    assert (record.seed, record.epoch, record.step) == (7, 2, 10)
    assert record == read_record(path)
    assert record.sha256 == json.loads(run.weights_path.with_suffix(".json").read_text())["sha256"]


def test_equal_weights_make_equal_files(run, method, tmp_path):
    record = read_record(run.path)
    save_weights(method, tmp_path / "again.safetensors", record)

    assert (tmp_path / "again.safetensors").read_bytes() == run.weights_path.read_bytes()


class OtherMethod(TinyMethod):
    name = "other"


def _another_backbone():
    return TinyMethod(fake_clip("ViT-B-16"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OtherMethod(fake_clip()), "weights of method tiny, not other.*Use method=tiny"),
        (_another_backbone, "another backbone: backbone.name 'fake' then, 'ViT-B-16' now"),
        (lambda: build_method(gain=2.0), "other hyperparameters: method.gain 1.0 then, 2.0 now"),
    ],
)
def test_weights_that_do_not_belong_are_refused(run, make, message):
    with pytest.raises(UserError, match=message):
        load_weights(make(), run.path)


def test_what_only_scoring_reads_may_change(run):
    class Louder(TinyMethod):
        scoring_only = frozenset({"gain"})

    assert load_weights(Louder(fake_clip(), gain=2.0), run.path).hyperparameters["gain"] == 1.0
    with pytest.raises(UserError, match=r"method\.noise 0\.0 then, 1\.0 now.*only gain may change"):
        load_weights(Louder(fake_clip(), gain=2.0, noise=1.0), run.path)


def test_other_weights_of_the_same_backbone_are_refused(run):
    clip = fake_clip()
    described = {**clip.describe(), "weights_sha256": "1" * 64}
    clip.describe = lambda: described

    with pytest.raises(UserError, match=r"backbone.weights_sha256 '000"):
        load_weights(TinyMethod(clip), run.path)


def test_a_missing_or_unfinished_run_is_named(tmp_path, method):
    with pytest.raises(UserError, match="no such run or weights file"):
        load_weights(method, tmp_path / "nowhere")
    run = RunFolder.create("train", "tiny", "demo", out=tmp_path / "run")
    with pytest.raises(UserError, match="holds no weights"):
        load_weights(method, run.path)
    run.checkpoint_path.touch()
    with pytest.raises(UserError, match=r"has not finished.*out="):
        load_weights(method, run.path)


def test_damaged_weights_are_named(run, method):
    run.weights_path.write_bytes(run.weights_path.read_bytes()[:-4])

    with pytest.raises(UserError, match="cannot be read as safetensors"):
        load_weights(method, run.path)


def test_weights_beside_the_record_of_others_are_refused(run, method):
    note = run.weights_path.with_suffix(".json")
    note.write_text(note.read_text().replace('"sha256": "', '"sha256": "x'))

    with pytest.raises(UserError, match="hashes differ"):
        load_weights(method, run.path)


def test_bare_tensors_load_with_unknown_origin(method, tmp_path):
    save_file({key: value + 1 for key, value in method.learnable_state().items()}, tmp_path / "bare.safetensors")
    other = build_method()
    record = load_weights(other, tmp_path / "bare.safetensors")

    assert torch.equal(other.head.weight, method.head.weight + 1)
    assert record.data is None
    assert read_record(tmp_path / "bare.safetensors") is None


class WithOfficial(TinyMethod):
    def load_official(self, path):
        self.loaded = path


def test_published_checkpoints_go_to_the_method(tmp_path):
    path = tmp_path / "published.pth"
    path.write_bytes(b"anything")
    method = WithOfficial(fake_clip())
    record = load_weights(method, path)

    assert method.loaded == path
    assert record.data is None
    assert read_record(path) is None


def test_tensors_of_another_shape_name_the_file(method, tmp_path):
    save_file({**method.learnable_state(), "head.bias": torch.zeros(9)}, tmp_path / "odd.safetensors")

    with pytest.raises(UserError, match=r"head.bias is \(9,\).*odd\.safetensors"):
        load_weights(method, tmp_path / "odd.safetensors")
