"""thresholds.json beside weights: above which image score a class counts as anomalous, and how that was decided.

{"version": 1, "classes": {CLASS: fields of `Threshold`}}. A threshold holds for the detector that it was found with:
the same weights, backbone, hyperparameters and support pictures. With others it is refused, not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, cast

import adbench
from adbench.atomic import one_at_a_time, write_json
from adbench.engine.weights import (
    WeightsRecord,
    backbone,
    deciding_backbone,
    differences,
    hyperparameters,
    weights_file,
)
from adbench.errors import UserError
from adbench.methods.base import Method
from adbench.structured import read_json
from adbench.typed import make

FILE = "thresholds.json"
_HINT = "calibrate again (python -m adbench calibrate), or remove the file"


@dataclass(frozen=True, kw_only=True, slots=True)
class MapScale:
    """Colours of maps run from `low` to `high`; pixels at or above `threshold` are outlined: it is the highest value in
    maps of the normal pictures, or the one of the largest pixel F1.
    """

    low: float
    high: float
    threshold: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """Images of a class with a score strictly above `value` are anomalous.

    rule            "conformal": from normal pictures, for a false-positive rate `fpr` with `confidence` (a share, or
                    "average"); "f1max", "recall": from labelled ones, at most F1 or at a recall of at least `recall`
    n               pictures that it was found with, `n_anomalous` of them anomalous; `n_above`: normal ones above it
    images_sha256   over what the pictures hold; of labelled scores: of the file they were read from
    support_sha256  over the support pictures; None: none were given
    detector        what gives the scores (`identity`)
    maps            how maps of the class are shown; None: it is not known
    """

    value: float
    rule: Literal["conformal", "f1max", "recall"]
    n: int
    n_above: int
    images_sha256: str
    detector: dict[str, Any]
    n_anomalous: int = 0
    fpr: float | None = None
    confidence: float | Literal["average"] | None = None
    recall: float | None = None
    support_sha256: str | None = None
    maps: MapScale | None = None
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    adbench_version: str = adbench.__version__


def identity(method: Method, record: WeightsRecord | None) -> dict[str, Any]:
    """What decides the scores of a detector, as JSON types."""
    return {
        "method": method.name,
        "weights_sha256": None if record is None else record.sha256,
        "hyperparameters": hyperparameters(method),
        "backbone": deciding_backbone(backbone(method)),
    }


def check_detector(threshold: Threshold, now: Mapping[str, Any], support_sha256: str | None, where: str) -> None:
    """Raise UserError where a threshold was found with another detector than `now`, or other support pictures."""
    then = threshold.detector
    differing = differences("", then, now, ("method", "weights_sha256", "backbone", "hyperparameters"))
    if not differing and threshold.support_sha256 != support_sha256:
        differing = "with support pictures then" if support_sha256 is None else "without these support pictures then"
    if differing:
        hint = "calibrate again (python -m adbench calibrate), or give threshold=NUMBER"
        raise UserError(f"the threshold was found with another detector: {differing}", where=where, hint=hint)


def thresholds_file(place: Path) -> Path:
    """The file of thresholds that a run, a weights file, a folder or that file itself stands for."""
    if place.suffix == ".json":
        return place
    return (weights_file(place).parent if place.is_file() else place) / FILE


def read_thresholds(path: Path) -> dict[str, Threshold]:
    """The thresholds in a file by class; none where there is no file. Raises UserError for a damaged one."""
    if not path.is_file():
        return {}
    content = read_json(path, hint=_HINT)
    classes = content.get("classes")
    if content.get("version") != 1 or not isinstance(classes, dict):
        raise UserError("the thresholds are damaged, or of another version", where=str(path), hint=_HINT)
    required = {field.name for field in fields(Threshold)} - {"n_anomalous", "fpr", "confidence", "recall", "maps"}
    thresholds = {}
    for name, values in classes.items():
        lacking = sorted(required - values.keys()) if isinstance(values, dict) else sorted(required)
        if lacking:
            raise UserError(f"the threshold of {name} lacks {', '.join(lacking)}", where=str(path), hint=_HINT)
        try:
            thresholds[name] = make(Threshold, cast(Mapping[str, Any], values), name)
        except UserError as error:
            raise UserError(f"the thresholds are damaged: {error.what}", where=str(path), hint=_HINT) from error
    return thresholds


def write_thresholds(path: Path, thresholds: Mapping[str, Threshold]) -> None:
    """Put thresholds by class into a file, whole or not at all; those of other classes in it stay."""
    with one_at_a_time(path.parent):
        merged = {**read_thresholds(path), **thresholds}
        write_json(path, {"version": 1, "classes": {name: asdict(merged[name]) for name in sorted(merged)}})
