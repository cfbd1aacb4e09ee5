"""Weights files know what they are, and refuse to be loaded where they do not belong."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from adbench.engine.run_folder import RunFolder
from adbench.engine.weights import (
    WeightsRecord,
    backbone,
    deciding_backbone,
    hyperparameters,
    load_weights,
    read_record,
    save_weights,
)
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


def test_what_is_computed_in_another_precision(run):
    plain, held = ({**fake_clip().describe(), "dtype": dtype} for dtype in ("float32", "bfloat16"))
    assert deciding_backbone(plain) == deciding_backbone(fake_clip().describe())  # files of earlier versions
    assert deciding_backbone(held) == {**deciding_backbone(plain), "dtype": "bfloat16"}
    load_weights(TinyMethod(fake_clip(dtype="bfloat16")), run.path)


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

    with pytest.raises(UserError, match="cannot read the weights: no whole safetensors file"):
        load_weights(method, run.path)


RECORD = {
    "method": "tiny",
    "hyperparameters": {"gain": 1.0, "noise": 0.0},
    "backbone": {"name": "fake", "weights_sha256": "0" * 64, "quick_gelu": False},
    "data": [{"name": "demo", "classes": ["bolt"], "n_images": 3, "fingerprint": "f"}],
    "adbench_version": "0.1",
}


def write_bare(path, tensors, record):
    """Weights with a record and without checksums, as earlier versions wrote them."""
    save_file(tensors, path, metadata={"adbench": record if isinstance(record, str) else json.dumps(record)})
    return path


def test_weights_without_checksums_load(method, tmp_path):
    file = write_bare(tmp_path / "w.safetensors", method.learnable_state(), RECORD)
    assert load_weights(build_method(seed=4), file).data == RECORD["data"]


SET = RECORD["data"][0]
FITTED = {"dataset": "a", "k": 1, "seed": None, "supports": [{"dataset": "a"}]}


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no JSON object"),
        ({**RECORD, "data": [1]}, r"data\[0\] is 1. Give an object with classes, fingerprint, n_images, name"),
        ({**RECORD, "data": {}}, "data is {}. Give a list"),
        ({**RECORD, "data": [{**SET, "classes": "bolt"}]}, r"data\[0\]\.classes is 'bolt'. Give a list"),
        ({**RECORD, "data": [{**SET, "classes": ["a", 3]}]}, r"data\[0\]\.classes\[1\] is 3. Give a word"),
        ({**RECORD, "data": [{**SET, "n_images": True}]}, r"data\[0\]\.n_images is True. Give a whole number"),
        ({**RECORD, "hyperparameters": "x"}, "hyperparameters is 'x'. Give {name: value}"),
        ({**RECORD, "backbone": 0}, "backbone is 0. Give an object with name, quick_gelu, weights_sha256"),
        (
            {**RECORD, "backbone": {**RECORD["backbone"], "quick_gelu": "no"}},
            "backbone.quick_gelu is 'no'. Give true or",
        ),
        ({**RECORD, "backbone": {"name": "fake"}}, "backbone lacks quick_gelu"),
        ({**RECORD, "method": None}, "method is None. Give a word"),
        ({**RECORD, "seed": 1.5}, "seed is 1.5. Give a whole number"),
        ({**RECORD, "selection": {"rule": "last"}}, "selection lacks data"),
        ({**RECORD, "adaptation": FITTED}, r"adaptation\.supports\[0\] lacks class_name"),
        ({**RECORD, "colour": 3}, "its field colour is unknown"),
        ({key: value for key, value in RECORD.items() if key != "backbone"}, "the record lacks backbone"),
    ],
)
def test_a_tampered_record_is_named_by_field(method, tmp_path, record, fault):
    file = write_bare(tmp_path / "w.safetensors", method.learnable_state(), record)
    for read in (lambda: read_record(file), lambda: load_weights(method, file)):
        with pytest.raises(UserError, match=fault):
            read()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda weight: weight.long(), "head.weight holds int64 instead of float32"),
        (lambda weight: weight.half(), "head.weight holds float16 instead of float32"),
        (lambda weight: weight.double(), "head.weight holds float64 instead of float32"),
        (lambda weight: weight * float("nan"), "head.weight holds values that are not finite"),
        (lambda weight: weight / 0, "head.weight holds values that are not finite"),
    ],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_wrong_numbers_are_named_by_tensor(method, tmp_path, change, fault, recorded):
    state = method.learnable_state()
    state["head.weight"] = change(state["head.weight"])
    file = tmp_path / "w.safetensors"
    write_bare(file, state, RECORD) if recorded else save_file(state, file)
    before = {key: value.clone() for key, value in method.learnable_state().items()}
    with pytest.raises(UserError, match=fault):
        load_weights(method, file)
    assert all(torch.equal(value, before[key]) for key, value in method.learnable_state().items())


def test_what_changed_after_writing_is_named(run, method, tmp_path):
    tensors = load_file(run.weights_path)
    with safe_open(run.weights_path, "pt") as file:
        record = json.loads(file.metadata()["adbench"])
    changed = {**tensors, "head.bias": tensors["head.bias"] + 1e-3}
    for name, state, found, fault in (
        ("a", changed, record, "the tensor head.bias is not what was written: its checksum differs"),
        ("b", {k: v for k, v in tensors.items() if k != "head.bias"}, record, "the tensor head.bias is missing"),
        ("c", tensors, {**record, "data": None}, "the record's field data is not what was written"),
        ("d", tensors, {**record, "checksums": 3}, "the checksums inside the file are damaged"),
    ):
        with pytest.raises(UserError, match=fault):
            load_weights(method, write_bare(tmp_path / f"{name}.safetensors", state, found))


def test_no_flipped_bit_is_loaded(run, method, tmp_path):
    """Every bit of the file, numbers and record alike: refused, or without any effect."""
    whole = run.weights_path.read_bytes()
    before = {key: value.clone() for key, value in method.learnable_state().items()}
    record = read_record(run.weights_path)
    file = tmp_path / "w.safetensors"
    draw = random.Random(0)
    places = [*range(len(whole) - 24, len(whole)), *draw.sample(range(len(whole)), 300)]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.randrange(8)
        file.write_bytes(flipped)
        found = None
        with contextlib.suppress(UserError):
            found = load_weights(method, file)
        assert found is None or replace(found, sha256="", source="") == replace(record, sha256="", source="")
        assert all(torch.equal(value, before[key]) for key, value in method.learnable_state().items())


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"sha256": 3}', "\0"])
def test_a_damaged_note_beside_the_weights_is_refused(run, method, content):
    run.weights_path.with_suffix(".json").write_text(content)
    with pytest.raises(UserError, match=r"weights\.json"):
        load_weights(method, run.path)


def test_wrapped_names_of_bare_tensors_are_understood(method, tmp_path):
    save_file({f"_orig_mod.{key}": value + 1 for key, value in method.learnable_state().items()}, tmp_path / "w.bin")
    other = build_method()
    load_weights(other, tmp_path / "w.bin")
    assert torch.equal(other.head.weight, method.head.weight + 1)


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
