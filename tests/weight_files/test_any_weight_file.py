"""Whatever bytes lie under a weight file's name: the tensors that were written, or one line; never other numbers."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import save

from adbench.engine.tensor_file import read_tensors, write_tensors
from adbench.errors import UserError
from adbench.weight_files import read_state
from damage import damaged_bytes

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8)
KINDS = st.sampled_from([np.float32, np.float16, np.float64, np.int64, np.uint8, np.bool_])
TENSORS = st.builds(
    lambda array: torch.from_numpy(np.ascontiguousarray(array)),
    KINDS.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0, max_side=3))),
)
STATES = st.dictionaries(NAMES, TENSORS, min_size=1, max_size=3)


def as_bytes(state, container):
    if container == "safetensors":
        return save(state)
    stored = io.BytesIO()
    torch.save(state, stored, _use_new_zipfile_serialization=container == "zip")
    return stored.getvalue()


def equal(found, expected):
    return found.keys() == expected.keys() and all(
        found[key].dtype == value.dtype
        and found[key].shape == value.shape
        and found[key].numpy().tobytes() == value.numpy().tobytes()
        for key, value in expected.items()
    )


@given(STATES, st.sampled_from(["safetensors", "zip", "old"]))
def test_every_state_comes_back_as_it_was_written(tmp_path, state, container):
    (tmp_path / "w.pt").write_bytes(as_bytes(state, container))
    assert equal(read_state(tmp_path / "w.pt"), state)


def refused(read, path):
    """Whether a file is refused, by one line that names it."""
    try:
        read(path)
    except UserError as error:
        line = str(error)
    else:
        return False
    assert path.name in line
    assert line.isprintable()
    return True


def test_a_length_that_begins_like_a_pickle_is_a_length(tmp_path):
    for width in range(60, 160):  # 128 bytes of header: 80 00
        state = {"w" * width: torch.ones(2)}
        (tmp_path / "w.bin").write_bytes(save(state))
        assert equal(read_state(tmp_path / "w.bin"), state)


@given(st.data(), STATES, st.sampled_from(["safetensors", "zip", "old"]))
def test_a_changed_file_is_read_or_one_line(tmp_path, data, state, container):
    path = tmp_path / "w.pt"
    path.write_bytes(damaged_bytes(data.draw, as_bytes(state, container)))
    if refused(read_state, path):
        return
    found = read_state(path)
    assert all(isinstance(value, torch.Tensor) for value in found.values())
    if container == "zip":  # torch's archives carry checksums of the numbers
        assert all(
            any(torch.equal(value, one) or value.isnan().any() for one in state.values()) for value in found.values()
        )


@given(st.data(), STATES)
def test_our_own_file_is_what_was_written_or_refused(tmp_path, data, state):
    path, record = tmp_path / "w.safetensors", {"method": "tiny", "epoch": 3}
    write_tensors(path, state, record)
    written = path.read_bytes()
    content = damaged_bytes(data.draw, written)
    path.write_bytes(content)
    if not refused(lambda one: read_tensors(one, sealed=True), path):
        tensors, found = read_tensors(path, sealed=True)
        assert equal(tensors, state)
        assert found == record


HEADS = [b"PK\x03\x04", b"\x80\x02", b"\x80\x05", b'\x10\0\0\0\0\0\0\0{"a":', b"\x89HDF", b"{", b"<html>"]


@given(st.sampled_from([b"", *HEADS]), st.binary(max_size=80))
def test_any_bytes_are_one_line(tmp_path, head, rest):
    path = tmp_path / "w.pt"
    path.write_bytes(head + rest)
    assert refused(read_state, path)


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(PLAIN, st.sampled_from(["zip", "old", "pickle", "json"]))
def test_what_holds_no_tensors_is_refused_by_what_it_holds(tmp_path, content, container):
    path = tmp_path / "w.pt"
    match container:
        case "pickle":
            path.write_bytes(pickle.dumps(content))
        case "json":
            path.write_text(json.dumps(repr(content)))
        case _:
            path.write_bytes(as_bytes(content, container))
    assert refused(read_state, path)


@given(STATES, PLAIN)
def test_what_stands_beside_the_weights_takes_nothing_from_them(tmp_path, state, other):
    torch.save({"state_dict": state, "other": other}, tmp_path / "w.pt")
    assert equal(read_state(tmp_path / "w.pt"), state)
    torch.save({**state, "an other": other}, tmp_path / "w.pt")
    assert equal(read_state(tmp_path / "w.pt"), state)
