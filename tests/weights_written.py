"""Weight files of every container, for the tests of their reader."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

CONTAINERS = ["safetensors", "zip", "old", "torchscript"]
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
