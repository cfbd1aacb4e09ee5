"""Thresholds of classes from the scores that an evaluation has left of labelled images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adbench.data.support import listing_sha256
from adbench.engine.thresholds import MapScale, Threshold
from adbench.engine.weights import file_sha256
from adbench.errors import UserError, unknown
from adbench.metrics.labelled_threshold import threshold_at_f1max, threshold_at_recall
from adbench.report.results import read_results
from adbench.report.scores import FILE, Score, read_scores

if TYPE_CHECKING:
    from adbench.api.detector import Detector


def labelled_thresholds(
    detector: Detector, evaluation: Path, recall: float | None, class_name: str | None
) -> dict[str, Threshold]:
    """The threshold of `class_name`, or of every class, at the largest F1 or at a recall of at least `recall`.

    evaluation  the run folder, or its scores.csv with results.json beside it
    Raises UserError where the scores are not this detector's, or of several data sets or draws of support.
    """
    folder = evaluation.parent if evaluation.name == FILE else evaluation
    run, rows = read_results(folder)
    _check_same(detector, run, rows, folder)
    scores = read_scores(folder)
    names = list(dict.fromkeys(row["class_name"] for row in scores))
    if class_name is not None and class_name not in names:
        raise unknown("class", class_name, names, where=str(folder))
    sha256 = file_sha256(folder / FILE)
    return {
        name: replace(
            _threshold(detector, [row for row in scores if row["class_name"] == name], run, sha256, recall),
            maps=_map_scale(name, rows, scores),
        )
        for name in names
        if class_name in (None, name)
    }


def _check_same(detector: Detector, run: dict[str, Any], rows: list[dict[str, Any]], folder: Path) -> None:
    now = detector.identity
    then = {(row["method"], row["weights"], row["backbone_sha256"]) for row in rows}
    same = then == {(now["method"], now["weights_sha256"], now["backbone"]["weights_sha256"])}
    if not same or run.get("hyperparameters", now["hyperparameters"]) != now["hyperparameters"]:
        hint = "evaluate this checkpoint with these settings, and give that run"
        raise UserError("the scores are of another method, weights, backbone or settings", where=str(folder), hint=hint)


def _threshold(
    detector: Detector, scores: list[Score], run: dict[str, Any], sha256: str, recall: float | None
) -> Threshold:
    name = scores[0]["class_name"]
    draws = {(row["dataset"], row["shots"], row["support_seed"]) for row in scores}
    if len(draws) > 1:
        hint = "evaluate one data set, with one support.k and support.seed"
        raise UserError(f"class {name} was scored {len(draws)} times: by data set, shots and seed", hint=hint)
    known = [row for row in scores if row["label"] in (0, 1)]
    labels = [row["label"] for row in known]
    values = [row["map_max"] if row["score"] is None else row["score"] for row in known]
    value = threshold_at_f1max(values, labels) if recall is None else threshold_at_recall(values, labels, recall)
    rule: Literal["f1max", "recall"] = "f1max" if recall is None else "recall"
    return Threshold(
        value=value,
        rule=rule,
        recall=recall,
        n=len(known),
        n_anomalous=sum(labels),
        n_above=sum(score > value for score, label in zip(values, labels, strict=True) if label == 0),
        images_sha256=sha256,
        support_sha256=_support(detector, name, next(iter(draws)), run),
        detector=detector.identity,
    )


def _map_scale(name: str, rows: list[dict[str, Any]], scores: list[Score]) -> MapScale | None:
    """Colours around the threshold of the largest pixel F1, up to the highest pixel of all maps of the class."""
    tops = [row["map_max"] for row in scores if row["class_name"] == name and row["map_max"] is not None]
    thresholds = [row.get("pixel_f1max_threshold", math.nan) for row in rows if row["class_name"] == name]
    if not tops or not thresholds or not max(tops) > thresholds[0]:  # NaN without masks
        return None
    return MapScale(low=2 * thresholds[0] - max(tops), high=max(tops), threshold=thresholds[0])


def _support(detector: Detector, name: str, draw: tuple[Any, ...], run: dict[str, Any]) -> str | None:
    """Over the support pictures that the class was scored with, unless they are part of the weights."""
    dataset, shots, seed = draw
    if not shots or (detector.record is not None and detector.record.adaptation is not None):
        return None
    for support in run.get("supports", ()):
        if (support["dataset"], support["class_name"], support["k"], support["seed"]) == (dataset, name, shots, seed):
            return listing_sha256(sorted(support["sha256"]))
    raise UserError(f"the run does not tell the support pictures of class {name}", hint="evaluate again")
