"""Whether a results.json, which may come from elsewhere, holds what `engine.rows` describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from adbench.engine.rows import is_share
from adbench.metrics.registry import is_threshold
from adbench.typed import Fraction, Length, check_value


class _Row(TypedDict):
    method: str
    dataset: str
    class_name: str


class ResultRow(_Row, total=False):
    """A result row; metrics and whatever else may stand beside."""

    weights: str | None
    backbone: str | None
    backbone_sha256: str | None
    trained_on: list[str] | None
    shots: int | None
    support_seed: int | str | None
    support_source: str | None
    support_id: str | None
    seed: int | None
    eval_seed: int
    protocol: str
    n_images: int
    n_anomalous: int | None
    n_datasets: int
    n_support_seeds: int
    zero_shot: bool | None
    selected_on_test: bool
    notes: list[str]
    seconds: float
    images_per_second: float | None


class _SupportSet(TypedDict):
    dataset: str
    class_name: str
    k: int
    source: str
    paths: list[str]


class _Part(TypedDict, total=False):
    checkpoint: str
    supports: list[_SupportSet] | None
    hyperparameters: dict[str, Any] | None


class _Intervals(TypedDict):
    resamples: int
    seed: int


class _Benchmark(TypedDict):
    name: str
    left_out: dict[str, str]


class Provenance(_Part, total=False):
    """How a run was made, as far as reports read it; a run with several trainings or methods has parts."""

    parts: list[_Part]
    versions: dict[str, Any]
    command: list[str]
    data: list[dict[str, Any]]
    intervals: _Intervals | None
    benchmark: _Benchmark | None


class Results(TypedDict):
    """The content of results.json."""

    run: Provenance
    rows: Annotated[list[ResultRow], Length(1, 10**9)]


def checked_results(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Provenance and rows. Raises UserError naming what is wrong; further keys may be there."""
    results = check_value(Results, content, "results.json")
    for number, row in enumerate(results["rows"]):
        for key, value in row.items():
            if is_share(key):
                check_value(Fraction | None, value, f"results.json.rows[{number}].{key}")
            elif is_threshold(key):
                check_value(float | None, value, f"results.json.rows[{number}].{key}")
    return dict(results["run"]), results["rows"]
