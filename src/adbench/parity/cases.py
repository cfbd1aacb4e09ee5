"""Parity cases: read one, compute our tensors of it."""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adbench.errors import UserError

if TYPE_CHECKING:
    import torch

_METRIC_CASES = {
    "metrics": "adbench.parity.metrics",
    "road_metrics": "adbench.parity.metrics",
    "evaluation_metrics": "adbench.parity.metrics",
    "metrics_more": "adbench.parity.further_metrics",
}
"""The modules of cases of metrics, by their method or kind."""


def read_case(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """case.json and tensors.npz of a case folder."""
    for name in ("case.json", "tensors.npz"):
        if not (folder / name).is_file():
            raise UserError(f"no parity case here: {name} is missing", where=str(folder), hint="give a case's folder")
    try:
        case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        with np.load(folder / "tensors.npz", allow_pickle=False) as stored:
            tensors = {key: stored[key] for key in stored.files}
    except (ValueError, zipfile.BadZipFile, OSError) as error:
        raise UserError(f"the parity case cannot be read: {error}", where=str(folder)) from error
    if not isinstance(case, dict) or "method" not in case:
        raise UserError("case.json names no method", where=str(folder))
    return case, tensors


def compute(
    case: Mapping[str, Any], tensors: Mapping[str, np.ndarray], *, device: torch.device | None = None
) -> dict[str, np.ndarray]:
    """Our tensors of a case under the fixture's keys, computed on `device` (None: the CPU).

    The recorded ones are withheld from the computation.
    """
    given = {key: value for key, value in tensors.items() if not key.startswith("expected")}
    module = _METRIC_CASES.get(case["method"]) or _METRIC_CASES.get(case.get("kind", ""))
    if module is None:
        module = f"adbench.parity.methods.{case['method']}"
        from adbench.methods import method_class

        method_class(case["method"])
        if find_spec(module) is None:
            raise UserError(f"method {case['method']} has no parity cases", where="case.json")
    run_case = importlib.import_module(module).run_case
    if device is None:
        return dict(run_case(case, given))
    from adbench.parity.from_case import computed_on

    with computed_on(device):
        return dict(run_case(case, given))
