"""Nothing in a weight file runs."""

from __future__ import annotations

import importlib
import pickle
import sys
from pathlib import Path

import pytest
import torch

from adbench.errors import UserError
from adbench.weight_files import read_state
from weights_written import STATE, same, write

# TorchScript is deprecated; its files stay.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")


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
