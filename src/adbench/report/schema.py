"""Whether a results.json, which may come from elsewhere, holds what `engine.rows` describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adbench.engine.rows import ALL_METRICS, STD

_NULL = type(None)
_REQUIRED = ("method", "dataset", "class_name")
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_REQUIRED, (str,)),
    **dict.fromkeys(("weights", "backbone", "backbone_sha256", "support_id", "support_source"), (str, _NULL)),
    **dict.fromkeys(("shots", "n_anomalous", "seed"), (int, _NULL)),
    **dict.fromkeys(("n_images", "n_datasets", "n_support_seeds", "eval_seed"), (int,)),
    "support_seed": (int, str, _NULL),
    "protocol": (str,),
    "zero_shot": (bool, _NULL),
    "selected_on_test": (bool,),
    "seconds": (int, float),
    "images_per_second": (int, float, _NULL),
}
_LISTS = {"notes": False, "trained_on": True}  # of texts; whether they may be null


def fault_in_results(content: Mapping[str, Any]) -> str:
    """What is wrong with the content of a results.json; empty if nothing is. Further keys may be there."""
    if not isinstance(content.get("run"), dict):
        return 'it has no object "run"'
    rows = content.get("rows")
    if not isinstance(rows, list) or not rows:
        return 'it has no list "rows" with a row in it'
    for number, row in enumerate(rows, start=1):
        fault = _fault_in_row(row)
        if fault:
            return f"row {number}: {fault}"
    return ""


def _fault_in_row(row: Any) -> str:
    if not isinstance(row, dict):
        return "it is no object"
    for name in _REQUIRED:
        if name not in row:
            return f"{name} is missing"
    for name, value in row.items():
        if name in _TYPES and type(value) not in _TYPES[name]:
            return f"{name} is {value!r:.60}"
        if name in _LISTS and not (_is_texts(value) or (value is None and _LISTS[name])):
            return f"{name} is {value!r:.60}, not a list of texts"
        if name.removesuffix(STD) in ALL_METRICS and value is not None and not _is_share(value):
            return f"{name} is {value!r:.60}, not a number from 0 to 1"
    return ""


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_share(value: Any) -> bool:
    """Of a standard deviation too: that of values in [0, 1] is at most 0.71."""
    return type(value) in (int, float) and 0 <= value <= 1
