"""Damage to a weight file is one line, quickly, whatever is broken."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from adbench.errors import UserError
from adbench.weight_files import read_state
from weights_written import CONTAINERS, WEIGHT, write

# TorchScript is deprecated; its files stay.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")


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
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(draw.choice((1, 1, 3, 20))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        file.write_bytes(damaged)
        check_one_line(file)


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
