"""The four containers of weights: safetensors, torch's zip, TorchScript's zip (the same, with code), torch's old file.

Told apart by content, whatever a file's name ends in. No size that a file declares is believed before it was compared
with the file.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from adbench.weight_files.unpickler import (
    PICKLE_LIMIT,
    Bounded,
    Damaged,
    NoWeights,
    Storage,
    StoredTensor,
    unpickle,
)

Kind = Literal["safetensors", "torch", "torchscript", "old torch"]

_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_LOCAL_HEADER = struct.Struct("<4s22sHH")  # signature, what the directory repeats, lengths of name and extra field
_MOST_AXES = 16
_HEADER_LIMIT = 100 << 20  # of safetensors
# Signs of files that hold no weights, or none that are read here.
_OTHERS = (
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file (fetch it with `git lfs pull`)"),
    (b"<", "an HTML or XML page"),
    (b"{", "JSON text"),
    (b"[", "JSON text"),
    (b"\x89HDF", "HDF5 data"),
    (b"GGUF", "a GGUF model"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "gzip-compressed data: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstandard-compressed data: unpack it first"),
)


@dataclass(slots=True)
class Contents:
    """A weight file. `tree`: its containers, with `StoredTensor` or `Tensor` for tensors and `Foreign` for the rest.

    metadata  texts that a safetensors file carries
    """

    kind: Kind
    tree: Any
    metadata: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Tensor] = field(default_factory=dict)
    """By key of a storage: its bytes, uint8."""

    def tensor(self, leaf: StoredTensor | Tensor) -> Tensor:
        """The numbers of a tensor of the tree. Raises Damaged where the file does not hold them."""
        if isinstance(leaf, Tensor):
            return leaf
        if len(leaf.size) > _MOST_AXES or any(n < 0 for n in (leaf.offset, *leaf.size, *leaf.stride)):
            raise Damaged("a tensor has no possible size")
        count = 1
        for side in leaf.size:
            count *= side
        if count == 0:
            return torch.empty(leaf.size if max(leaf.size) < 1 << 40 else (0,), dtype=leaf.dtype)
        last = leaf.offset + sum((side - 1) * step for side, step in zip(leaf.size, leaf.stride, strict=True))
        values = self.numbers[leaf.storage.key]
        held = len(values) // leaf.dtype.itemsize
        if last >= held or count > held:
            raise Damaged(f"a tensor of {count} numbers is declared, the file holds {held} of them")
        return values[: held * leaf.dtype.itemsize].view(leaf.dtype).as_strided(leaf.size, leaf.stride, leaf.offset)


def read_contents(path: Path) -> Contents:
    """Read a weight file. Raises Damaged or NoWeights, and OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(64)
        file.seek(0)
        if not start:
            raise Damaged("the file is empty")
        # Before the others: it begins with a length, whose bytes may be the first ones of a pickle.
        if _is_safetensors(start, size) or (path.suffix == ".safetensors" and start[8:9] == b"{"):
            return _safetensors(path)
        if start.startswith(b"PK"):
            return _zip(file, size)
        if start.startswith(b"\x80") and start[1:2] <= b"\x05":
            return _old_torch(file, size)
        text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
        for sign, what in _OTHERS:
            if text.startswith(sign):
                raise NoWeights(what)
        file.seek(257)
        if file.read(5) == b"ustar":
            raise NoWeights("a tar archive: unpack it first")
    raise NoWeights("something unknown: neither safetensors nor of torch.save or TorchScript")


def is_safetensors(path: Path) -> bool:
    """Whether the file looks like safetensors, whatever its name."""
    with path.open("rb") as file:
        return _is_safetensors(file.read(64), path.stat().st_size)


def _is_safetensors(start: bytes, size: int) -> bool:
    return start[8:9] == b"{" and 8 + int.from_bytes(start[:8], "little") <= min(size, _HEADER_LIMIT)


def _safetensors(path: Path) -> Contents:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tree = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Contents("safetensors", tree, dict(file.metadata() or {}))
    except SafetensorError as error:  # its messages quote the file: the first words name the fault
        raise Damaged(f"no whole safetensors file: {str(error).split(':')[-1].strip()[:60]}") from error
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise Damaged("no whole safetensors file") from error


# Zip archives of torch.save and torch.jit.save


def _zip(file: IO[bytes], size: int) -> Contents:
    try:
        entries = zipfile.ZipFile(file).infolist()
    except Exception as error:  # damaged directories raise whatever a step of reading them can raise
        raise Damaged("the archive is cut short or damaged: it lacks its directory") from error
    by_name = {entry.filename: entry for entry in entries}
    if len(by_name) != len(entries):
        raise Damaged("the archive names an entry twice")
    indices = [name for name in by_name if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(indices) != 1:
        some = ", ".join(f"{name:.60}" for name in sorted(by_name)[:4])
        raise NoWeights(f"a zip archive of other files ({some}{', ...' if len(by_name) > 4 else ''})")
    folder = indices[0].removesuffix("data.pkl")
    if by_name[indices[0]].file_size > PICKLE_LIMIT:
        raise NoWeights(f"an archive with more than {PICKLE_LIMIT >> 20} MiB of Python objects beside its tensors")
    order = by_name.get(f"{folder}byteorder")
    if order is not None and _entry(file, order, size) != b"little":
        raise NoWeights("an archive in the byte order of another kind of machine")
    tree, storages = _index(file, by_name[indices[0]], size)
    numbers: dict[str, Tensor] = {}
    total = 0
    for storage in storages.values():
        entry = by_name.get(f"{folder}data/{storage.key}")
        if entry is None:
            raise Damaged(f"the archive lacks its entry data/{storage.key:.60}")
        total += entry.file_size
        if total > size or entry.file_size < storage.length * storage.dtype.itemsize:
            raise Damaged(f"the entry data/{storage.key:.60} is not as large as declared")
        numbers[storage.key] = _bytes(_entry(file, entry, size))
    code = f"{folder}code/"
    scripted = f"{folder}constants.pkl" in by_name or any(name.startswith(code) for name in by_name)
    return Contents("torchscript" if scripted else "torch", tree, numbers=numbers)


def _index(file: IO[bytes], entry: zipfile.ZipInfo, size: int) -> tuple[Any, dict[str, Storage]]:
    stored = _entry(file, entry, size)
    try:
        return unpickle(BytesIO(stored))
    except Damaged as error:
        if entry.CRC:  # it matched: this is what was written
            raise NoWeights(f"an archive of objects that torch.save does not write ({error})") from error
        raise


def _entry(file: IO[bytes], entry: zipfile.ZipInfo, size: int) -> bytearray:
    """The bytes of an uncompressed entry, checked against its checksum where it has one."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise NoWeights("a compressed archive, as torch.save never writes them: unpack it, and pack it uncompressed")
    if not 0 <= entry.header_offset < size:
        raise Damaged(f"the entry {entry.filename:.60} lies outside the file")
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise Damaged(f"the entry {entry.filename:.60} is not where it should be")
    *_, name, extra = _LOCAL_HEADER.unpack(header)
    file.seek(name + extra, os.SEEK_CUR)
    read = _exactly(file, entry.file_size, size)
    if entry.CRC not in (0, zlib.crc32(read)):  # 0: written with torch.serialization.set_crc32_options(False)
        raise Damaged(f"the entry {entry.filename:.60} does not match its checksum")
    return read


def _exactly(file: IO[bytes], count: int, size: int) -> bytearray:
    if count > size - file.tell():
        raise Damaged("the file is cut short")
    read = bytearray(count)
    if file.readinto(read) != count:  # type: ignore[attr-defined]
        raise Damaged("the file is cut short")
    return read


def _bytes(read: bytearray) -> Tensor:
    return torch.frombuffer(read, dtype=torch.uint8) if read else torch.empty(0, dtype=torch.uint8)


# Files of torch before 1.6: pickles (magic number, version, machine, the object, keys of storages), then the numbers


def _old_torch(file: IO[bytes], size: int) -> Contents:
    head = Bounded(file)
    try:
        magic, _ = unpickle(head)
    except Damaged as error:
        raise NoWeights("a pickle that is damaged or not of torch.save") from error
    if magic != _OLD_MAGIC:
        raise NoWeights("a Python pickle that torch.save has not written")
    unpickle(head)
    unpickle(head)
    tree, storages = unpickle(head)
    keys, _ = unpickle(head)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise Damaged("its list of tensors is damaged")
    return Contents("old torch", tree, numbers={key: _old_numbers(file, storages[key], size) for key in keys})


def _old_numbers(file: IO[bytes], storage: Storage, size: int) -> Tensor:
    if int.from_bytes(_exactly(file, 8, size), "little") != storage.length:
        raise Damaged("a tensor is not as large as declared")
    return _bytes(_exactly(file, storage.length * storage.dtype.itemsize, size))
