"""One file of named tensors and a JSON record: safetensors, whole or not at all, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adbench.atomic import replacing
from adbench.errors import UserError

_RECORD = "adbench"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write `tensors` (copied to the CPU) and the JSON-able `record` to one file: equal content gives equal bytes."""
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:  # one metadata entry only: safetensors writes several in random order
        save_file(plain, temporary, metadata={_RECORD: json.dumps(record)})


def read_tensors(path: Path, *, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors of a safetensors file (none of them with `tensors=False`) and its record; None if it carries none.

    Raises UserError for a missing or damaged file.
    """
    if not path.is_file():
        raise UserError("there is no such weights file", where=str(path), mend="check the path")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            record = (file.metadata() or {}).get(_RECORD)
            loaded: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"the file cannot be read as safetensors: {error}", where=str(path), mend="copy or download it again"
        ) from error
    return loaded, None if record is None else json.loads(record)
