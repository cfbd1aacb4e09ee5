"""Learned weights on disk, with the record of how they came about: a few MB, never the backbone, nothing pickled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.methods.base import Method


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsRecord:
    """How weights came about. `data` None: unknown (weights published by others, bare tensors).

    data       per training set: {"name", "classes", "n_images", "fingerprint"}
    selection  None for the last epoch, else {"rule", "metric", "value", "epoch", "dataset", "classes"}
    source     the file that was read; not part of the file itself
    """

    method: str
    hyperparameters: dict[str, Any]
    backbone: dict[str, Any]
    data: list[dict[str, Any]] | None
    seed: int | None = None
    epoch: int | None = None
    step: int | None = None
    selection: dict[str, Any] | None = None
    adbench_version: str = ""
    sha256: str = ""
    source: str = ""


def hyperparameters(method: Method) -> dict[str, Any]:
    """The values that `method` was built with, by constructor argument."""
    raise NotImplementedError


def save_weights(method: Method, path: Path, record: WeightsRecord) -> WeightsRecord:
    """Write the learned tensors to `path` (weights.safetensors) and the record beside it (weights.json), each whole.

    The record is inside the safetensors file too, so a file moved elsewhere still knows itself.
    """
    raise NotImplementedError


def read_record(path: Path) -> WeightsRecord | None:
    """The record of a run folder or weights file; None for weights that carry none (published by others).

    Use it to build the method with the hyperparameters of its training before `load_weights`.
    """
    raise NotImplementedError


def load_weights(method: Method, path: Path) -> WeightsRecord:
    """Load a run folder, a weights file (.safetensors), or a checkpoint published by the authors (.pth, .pt, ...).

    Raises UserError naming what differs: method, hyperparameters, backbone (name, sha256).
    """
    raise NotImplementedError
