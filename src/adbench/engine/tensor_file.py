"""One file of named tensors and a JSON record: safetensors, whole or not at all, nothing pickled, checksums inside.

Every tensor and every field of the record has its own, so that a flipped bit is not only noticed but named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, uint8

from adbench.atomic import write_bytes
from adbench.errors import UserError
from adbench.weight_files import open_weights

_RECORD, _CHECKSUMS = "adbench", "checksums"
_HINT = "copy the file again, or make it anew"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write `tensors` (copied to the CPU) and the JSON-able `record` to one file: equal content gives equal bytes."""
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    sealed = {**record, _CHECKSUMS: _checksums(plain, record)}
    # One metadata entry only: safetensors writes several in random order. Written by us, so that a full disk says so.
    write_bytes(path, save(plain, metadata={_RECORD: json.dumps(sealed)}))


def read_tensors(path: Path, *, sealed: bool = False) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors of a safetensors file and its record; None if it carries none.

    sealed  refuse a file without checksums, which this version has not written
    Raises UserError for a missing or damaged file, and for one whose content is not what was written, naming it.
    """
    opened = open_weights(path)
    tensors, text = opened.state() or {}, opened.metadata.get(_RECORD)
    if opened.kind == "safetensors":
        tensors = dict(opened.contents.tree)
    if text is None:
        if sealed or any(f'"{_CHECKSUMS}"' in other for other in opened.metadata.values()):
            raise UserError("the file lacks its record", where=str(path), hint=_HINT)
        return tensors, None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError("the record inside the file is no JSON", where=str(path), hint=_HINT) from error
    if not isinstance(record, dict):
        raise UserError("the record inside the file is no JSON object", where=str(path), hint=_HINT)
    written = record.pop(_CHECKSUMS, None)
    if written is None and sealed:
        raise UserError("the file lacks its checksums", where=str(path), hint=_HINT)
    if written is not None:
        _compare(written, _checksums(tensors, record), path)
    return tensors, record


def write_rows(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of equal length, a checksum per row inside, so that `read_row` can trust a row by itself."""
    count = len(next(iter(tensors.values())))
    rows = [_row_checksum({name: value[row : row + 1] for name, value in tensors.items()}) for row in range(count)]
    write_tensors(path, tensors, {"rows": rows})


def read_row(path: Path, row: int) -> dict[str, Tensor]:
    """A row of what `write_rows` wrote, as tensors of length 1. Raises UserError where it is not what was written."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_slice(name)[row : row + 1] for name in file.keys()}  # noqa: SIM118
            written = json.loads(file.metadata()[_RECORD])["rows"][row]
    except (SafetensorError, OSError, ValueError, TypeError, LookupError) as error:
        raise UserError("the file cannot be read", where=str(path), hint=_HINT) from error
    if written != _row_checksum(tensors):
        raise UserError(f"row {row} is not what was written: its checksum differs", where=str(path), hint=_HINT)
    return tensors


def _row_checksum(row: Mapping[str, Tensor]) -> str:
    return _short(*(f"{name} {_tensor_checksum(row[name].cpu())} ".encode() for name in sorted(row)))


def _checksums(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {
        "tensor": {name: _tensor_checksum(tensor) for name, tensor in tensors.items()},
        "record": {str(name): _short(json.dumps(value).encode()) for name, value in record.items()},
    }


def _tensor_checksum(tensor: Tensor) -> str:
    plain = tensor.contiguous()
    content = plain.reshape(-1).view(uint8).numpy().data if plain.numel() else b""  # torch views no empty ones
    return _short(f"{plain.dtype} {tuple(plain.shape)} ".encode(), content)


def _short(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _compare(written: object, read: Mapping[str, Mapping[str, str]], path: Path) -> None:
    """Raise UserError naming the first tensor, or field of the record, that is not what was written."""
    if not isinstance(written, dict) or not all(isinstance(written.get(kind), dict) for kind in read):
        raise UserError("the checksums inside the file are damaged", where=str(path), hint=_HINT)
    for kind, checksums in read.items():
        then = written[kind]
        for name in sorted({*then, *checksums}):
            if then.get(name) != checksums.get(name):
                fault = "is missing" if name not in checksums else "is not what was written: its checksum differs"
                what = f"the tensor {name:.100}" if kind == "tensor" else f"the record's field {name:.100}"
                raise UserError(f"{what} {fault}", where=str(path), hint=_HINT)
