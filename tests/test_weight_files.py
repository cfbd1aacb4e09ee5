"""Weight files are read whatever they hold beside tensors, nothing in them runs, and damage is one line."""

from __future__ import annotations

import argparse
import importlib
import io
import pickle
import random
import struct
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from adbench.errors import UserError
from adbench.weight_files import open_weights, read_state

# TorchScript is deprecated; its files stay.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")

WEIGHT = torch.arange(6.0).reshape(2, 3)
STATE = {"a.weight": WEIGHT, "a.bias": torch.tensor([1, -2], dtype=torch.int64), "b": torch.zeros(0, 4).half()}


def same(found, expected=STATE):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


def write(file: Path, container: str, state=STATE) -> Path:
    if container == "safetensors":
        save_file(dict(state), file)
    elif container == "torchscript":
        scripted(file)
    else:
        torch.save(dict(state), file, _use_new_zipfile_serialization=container == "zip")
    return file


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


class Linear(torch.nn.Module):
    """A module with everything that an archive can hold: a parameter, a buffer, a submodule, plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(3, 2)
        self.register_buffer("count", torch.tensor(3))
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x) * self.count


def scripted(file: Path, trace=False) -> Linear:
    torch.manual_seed(0)
    module = Linear()
    (torch.jit.trace(module, torch.zeros(1, 3)) if trace else torch.jit.script(module)).save(file)
    return module


CONTAINERS = ["safetensors", "zip", "old", "torchscript"]


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


# Nothing runs


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


class BuiltPayload:
    """Acts when its state is put back."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __setstate__(self, state):
        state["mark"].touch()


@pytest.mark.parametrize("container", ["zip", "old"])
@pytest.mark.parametrize("kind", [Payload, BuiltPayload])
def test_pickled_payloads_do_not_run(tmp_path, kind, container):
    mark = tmp_path / "mark"
    file = write(tmp_path / "w.pt", container, {"state_dict": STATE, "evil": kind(mark)})
    same(read_state(file))
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(kind(mark)))
    with pytest.raises(UserError, match="a Python pickle"):
        read_state(tmp_path / "bare.pt")
    assert not mark.exists()


def test_code_in_torchscript_does_not_run(tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    (tmp_path / "acting_module.py").write_text(
        f"""
import torch
from typing import Tuple

class Acting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(2))
        self.training = False
    @torch.jit.export
    def __getstate__(self):
        return (self.w, self.training)
    @torch.jit.export
    def __setstate__(self, state: Tuple[torch.Tensor, bool]):
        self.w = state[0]
        self.training = state[1]
        torch.save(["payload"], "{mark}")
    def forward(self, x):
        return x + self.w
"""
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    acting = importlib.import_module("acting_module")
    torch.jit.script(acting.Acting()).save(tmp_path / "w.pt")
    sys.modules.pop("acting_module")
    mark.unlink(missing_ok=True)
    torch.jit.load(tmp_path / "w.pt")
    assert mark.exists(), "the archive does not act: this test would not see it"
    mark.unlink()
    with pytest.raises(UserError, match="no state dict, but an object of __torch__"):
        read_state(tmp_path / "w.pt")
    assert not mark.exists()


# Damage: one line, quickly, whatever is broken


def check_one_line(file: Path) -> None:
    """The file is read, or refused in one printable line."""
    said = ""
    try:
        read_state(file)
    except UserError as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 700


@pytest.mark.parametrize("container", CONTAINERS)
def test_files_cut_short_are_refused(tmp_path, container):
    whole = write(tmp_path / "w.pt", container).read_bytes()
    file = tmp_path / "cut.pt"
    for length in sorted({0, 1, 2, 7, 8, 9, 100, len(whole) - 1, *range(16, len(whole), max(len(whole) // 60, 1))}):
        file.write_bytes(whole[:length])
        with pytest.raises(UserError) as error:
            read_state(file)
        assert str(error.value).isprintable()


@pytest.mark.parametrize("container", CONTAINERS)
def test_flipped_bytes_never_give_a_traceback(tmp_path, container):
    whole = write(tmp_path / "w.pt", container).read_bytes()
    draw = random.Random(container)
    file = tmp_path / "flipped.pt"
    start = time.perf_counter()
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(draw.choice((1, 1, 3, 20))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        file.write_bytes(damaged)
        check_one_line(file)
    assert time.perf_counter() - start < 60


def test_flipped_bytes_in_the_index_of_an_archive(tmp_path):
    """Damage behind a checksum that fits, as a hostile file has it: the unpickler itself must bear it."""
    whole = io.BytesIO(write(tmp_path / "w.pt", "zip").read_bytes())
    with zipfile.ZipFile(whole) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    index = next(name for name in entries if name.endswith("data.pkl"))
    draw = random.Random(5)
    for _ in range(400):
        damaged = bytearray(entries[index])
        for _ in range(draw.choice((1, 2, 5))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
            for name, content in {**entries, index: bytes(damaged)}.items():
                archive.writestr(name, content)
        check_one_line(tmp_path / "x.pt")


def repacked(file: Path, replaced: dict[str, bytes], compression=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    out = file.with_name("repacked.pt")
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, replaced.get(name.split("/", 1)[1], content))
    return out


def test_a_flipped_bit_in_the_numbers_of_an_archive_is_noticed(tmp_path):
    file = write(tmp_path / "w.pt", "zip")
    content = bytearray(file.read_bytes())
    content[content.index(WEIGHT.numpy().tobytes()) + 5] ^= 16
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"data/0 does not match its checksum.*again"):
        read_state(file)


def test_compressed_archives_are_refused_by_name(tmp_path):
    file = repacked(write(tmp_path / "w.pt", "zip"), {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="a compressed archive"):
        read_state(file)


def test_more_numbers_than_the_file_holds_are_refused(tmp_path):
    """A tensor of a few bytes that declares terabytes by a stride of zero, and one beyond its storage."""
    huge = torch.zeros(1).expand(1 << 40)
    torch.save({"a": huge}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=f"a tensor of {1 << 40} numbers is declared, the file holds 1"):
        read_state(tmp_path / "w.pt")
    file = write(tmp_path / "v.pt", "zip")
    with pytest.raises(UserError, match="data/0 is not as large as declared"):
        read_state(repacked(file, {"data/0": b"\0" * 4}))


def test_an_entry_outside_the_archive_is_refused(tmp_path):
    """The place of an entry, in the archive's directory, moved out of the file."""
    whole = write(tmp_path / "w.pt", "zip").read_bytes()
    directory = whole.index(b"PK\x01\x02")
    for place in (1 << 31, len(whole), len(whole) - 1):
        damaged = bytearray(whole)
        damaged[directory + 42 : directory + 46] = struct.pack("<I", place)
        (tmp_path / "w.pt").write_bytes(damaged)
        with pytest.raises(UserError, match=r"data\.pkl (lies outside the file|is not where it should be)"):
            read_state(tmp_path / "w.pt")


def test_declared_sizes_of_pickles_and_headers_are_not_believed(tmp_path):
    for content in (
        b"\x80\x04\x96" + struct.pack("<Q", 1 << 40) + b".",  # BYTEARRAY8
        b"\x80\x02]r" + struct.pack("<I", (1 << 32) - 1) + b".",  # LONG_BINPUT: a place far out in the memo
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b".",  # BINUNICODE8
        struct.pack("<Q", 1 << 62) + b'{"a":1}',
        struct.pack("<Q", 99 << 20) + b'{"a":1}',
        struct.pack("<Q", 70) + b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4]}}  \0\0\0\0',
    ):
        for name in ("w.pt", "w.safetensors"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(UserError):
                read_state(tmp_path / name)


def test_an_index_of_many_objects_is_refused(tmp_path):
    many = b"\x80\x02" + b"]" * (17 << 20) + b"."
    with pytest.raises(UserError, match="more than 16 MiB of Python objects"):
        read_state(repacked(write(tmp_path / "w.pt", "zip"), {"data.pkl": many}))


def test_keys_that_take_for_ever_to_hash_are_left_out(tmp_path):
    nested = b")" + b"q\x010h\x01h\x01\x86" * 60  # a pair of a pair of ... of itself: 2^60 leaves
    index = b"\x80\x02}" + nested + b"K\x01s."
    with pytest.raises(UserError, match="no state dict"):
        read_state(repacked(write(tmp_path / "w.pt", "zip"), {"data.pkl": index}))
