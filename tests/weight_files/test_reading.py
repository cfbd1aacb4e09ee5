"""Weight files are read whatever they hold beside tensors."""

from __future__ import annotations

import argparse
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from adbench.errors import UserError
from adbench.weight_files import open_weights, read_state
from weights_written import CONTAINERS, STATE, WEIGHT, Linear, same, scripted, write

# TorchScript is deprecated; its files stay.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")


@pytest.mark.parametrize("container", ["zip", "old"])
def test_dictionaries_within_the_file_and_plain_values_beside_them(tmp_path, container):
    content = {
        "top": STATE["b"],
        "layers": {"layer_6": {"a.weight": WEIGHT}},
        "sizes": (6, 12),
        "epoch": 2,
        "none": None,
    }
    opened = open_weights(write(tmp_path / "a.pth", container, content))
    same(opened.nested_state(), {"top": STATE["b"], "layers.layer_6.a.weight": WEIGHT})
    assert opened.plain_values() == {"sizes": [6, 12], "epoch": 2}


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w"])
@pytest.mark.parametrize("container", CONTAINERS[:3])
def test_containers_are_told_apart_by_content(tmp_path, container, name):
    same(read_state(write(tmp_path / name, container)))


@pytest.mark.parametrize("length", [128, 0x0280, 0x0480, 0x4B50])
def test_a_header_whose_length_reads_like_another_format(tmp_path, length):
    """The first bytes are those of a pickle (80 00 to 80 05) or of a zip archive (PK)."""
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(length)
    (tmp_path / "w.bin").write_bytes(struct.pack("<Q", length) + header + torch.ones(2).numpy().tobytes())
    same(read_state(tmp_path / "w.bin"), {"a": torch.ones(2)})


@pytest.mark.parametrize("trace", [False, True])
def test_torchscript_gives_its_tensors(tmp_path, trace):
    module = scripted(tmp_path / "m.pt", trace)
    assert open_weights(tmp_path / "m.pt").kind == "torchscript"
    same(read_state(tmp_path / "m.pt"), module.state_dict())


def test_views_parameters_and_unusual_numbers_come_out_right(tmp_path):
    tied = torch.nn.Parameter(WEIGHT)
    state = {
        "transposed": WEIGHT.t(),
        "part": WEIGHT[1:, 1:],
        "first": tied,
        "second": tied,
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        **{str(kind): torch.ones(3).to(kind) for kind in (torch.bfloat16, torch.bool, torch.uint16, torch.complex64)},
    }
    for container in ("zip", "old"):
        plain = {key: value for key, value in state.items() if container == "zip" or key != "torch.uint16"}
        same(read_state(write(tmp_path / "w.pt", container, plain)), plain)


def test_a_file_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        same(read_state(write(tmp_path / "w.pt", "zip")))
    finally:
        torch.serialization.set_crc32_options(True)


# What else stands in files that are whole


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": STATE},
        {"model": STATE, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3},
        {"model_state_dict": STATE, "loss": torch.tensor(0.5)},
        {"model_state": {f"module.{key}": value for key, value in STATE.items()}},
        {"checkpoint": {"state_dict": {f"model._orig_mod.{key}": value for key, value in STATE.items()}}},
        {**STATE, "epoch": 3, "note": "best", "args": argparse.Namespace(lr=0.1)},
        {"state_dict": STATE, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.7), "hparams": {1, 2}},
        {"state_dict": STATE, "path": Path("x"), "kind": argparse.Namespace, "device": torch.device("cpu")},
    ],
)
@pytest.mark.parametrize("container", ["zip", "old"])
def test_weights_are_found_beside_other_things(tmp_path, wrapped, container):
    same(read_state(write(tmp_path / "w.pt", container, wrapped)))


def test_a_pickled_module_gives_its_tensors(tmp_path):
    module = Linear()
    module.register_buffer("passing", torch.ones(2), persistent=False)
    torch.save(module, tmp_path / "m.pt")
    same(read_state(tmp_path / "m.pt"), module.state_dict())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3, "args": argparse.Namespace()}, r"epoch \(a number\), args \(an object of argparse\.Namespace\)"),
        ({"optimizer": {"state": {}, "param_groups": []}}, r"optimizer \(the state of an optimiser\)"),
        ({"accuracy": np.float64(0.5)}, r"accuracy \(a NumPy value\)"),
        ({"prompt_learner": STATE}, r"prompt_learner \(a dictionary of a\.weight, a\.bias, b\)"),
        ({"\x1b[31mred\x07": 1}, r"\\x1b\[31mred\\x07 \(a number\)"),
        ([STATE], "a list of 1"),
        ("words", "a text"),
        ({}, "nothing"),
    ],
)
def test_a_whole_file_without_weights_says_what_it_holds(tmp_path, content, said):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=said) as error:
        read_state(tmp_path / "w.pt")
    assert str(error.value).isprintable()
    assert "again" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>", "an HTML or XML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        (b'{"weight_map": {}}', "JSON text"),
        (b"GGUF\x03", "a GGUF model"),
        (b"hello", "something unknown"),
        (pickle.dumps({"a": 1}), "a Python pickle that torch.save has not written"),
    ],
)
def test_other_files_are_named(tmp_path, content, said):
    for name in ("w.pt", "w.bin"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"this is no file of weights but {said}"):
            read_state(tmp_path / name)


def test_archives_of_other_files_are_named(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    with pytest.raises(UserError, match=r"a zip archive of other files \(a\.npy\)"):
        read_state(tmp_path / "w.npz")


def test_what_is_missing_or_empty_is_named(tmp_path):
    (tmp_path / "empty.pt").touch()
    with pytest.raises(UserError, match="the file is empty"):
        read_state(tmp_path / "empty.pt")
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(UserError, match="weights file not found"):
            read_state(path)
