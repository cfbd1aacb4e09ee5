"""Our tensors of a parity case against the recorded ones, within the case's tolerances."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One recorded tensor against ours; `error` is the largest absolute difference, NaN where nothing was computed."""

    name: str
    shape: tuple[int, ...]
    error: float
    tolerance: str
    status: str

    @property
    def differs(self) -> bool:
        """True when our tensor is there and does not fit."""
        return self.status not in ("ok", "not computed")


def compare(
    case: Mapping[str, Any], recorded: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]
) -> list[TensorRow]:
    """A row per recorded tensor, in the order of their names."""
    keys = sorted(key for key in recorded if key.startswith("expected"))
    rules = case.get("tolerance", {})
    wider = not _same_sklearn(case)
    return [_row(key, recorded[key], ours.get(key), tolerance_of(key, rules), wider) for key in keys]


def tolerance_of(key: str, rules: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The rule for a tensor's full key.

    A full key or a pattern of full keys comes before a bare name, that before a pattern of bare names, a longer
    pattern before a shorter one; `default` covers the rest.
    """
    bare = key.split("/", 1)[1]
    best: tuple[tuple[int, int], Mapping[str, Any]] | None = None
    for names, rule in rules.items():
        for name in (part.strip() for part in names.split(",")):
            if name == key or (name.startswith("expected") and "/" in name and fnmatch.fnmatchcase(key, name)):
                rank = 3
            elif name == bare:
                rank = 2
            elif fnmatch.fnmatchcase(bare, name):
                rank = 1
            else:
                continue
            if best is None or (rank, len(name)) > best[0]:
                best = ((rank, len(name)), rule)
    return best[1] if best else rules.get("default", {"atol": 0.0, "rtol": 0.0})


def _row(key: str, recorded: np.ndarray, ours: np.ndarray | None, rule: Mapping[str, Any], wider: bool) -> TensorRow:
    if ours is None:
        return TensorRow(key, recorded.shape, float("nan"), _describe(rule), "not computed")
    if ours.shape != recorded.shape:
        return TensorRow(key, recorded.shape, float("nan"), _describe(rule), f"DIFFERS: our shape is {ours.shape}")
    a, b = ours.astype(np.float64), recorded.astype(np.float64)
    error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    largest = float(np.nan_to_num(error, nan=np.inf).max()) if error.size else 0.0
    ok = _fits(error, b, rule)
    if not ok and wider and "if_kmeans_labels_differ" in rule:
        rule = rule["if_kmeans_labels_differ"]
        ok = _fits(error, b, rule)
    return TensorRow(key, recorded.shape, largest, _describe(rule), "ok" if ok else "DIFFERS")


def _fits(error: np.ndarray, recorded: np.ndarray, rule: Mapping[str, Any]) -> bool:
    if np.isnan(error).any():
        return False
    if "relative_l2" in rule:
        return bool(np.linalg.norm(error) <= rule["relative_l2"] * np.linalg.norm(recorded))
    outside = error > rule.get("atol", 0.0) + rule.get("rtol", 0.0) * np.abs(np.nan_to_num(recorded))
    if "allow_fraction_outside" in rule:
        within_hard = not error.size or error.max() <= rule.get("hard_atol", np.inf)
        return bool(outside.sum() <= rule["allow_fraction_outside"] * outside.size and within_hard)
    return not outside.any()


def _describe(rule: Mapping[str, Any]) -> str:
    parts = [f"{key} {rule[key]:g}" for key in ("atol", "rtol", "relative_l2", "allow_fraction_outside") if key in rule]
    return ", ".join(parts)


def _same_sklearn(case: Mapping[str, Any]) -> bool:
    import sklearn

    return bool(case.get("environment", {}).get("sklearn", sklearn.__version__) == sklearn.__version__)
