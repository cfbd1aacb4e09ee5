"""What the thresholds that lie beside the weights of an evaluation make of its images: a table of report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.engine.settings import Row
from adbench.engine.thresholds import Threshold, read_thresholds, thresholds_file
from adbench.report.page import Cell, Table
from adbench.report.scores import Score

ABOUT = "Images with a score above the threshold of their class, which calibrate has kept beside the weights."


def threshold_table(
    rows: Sequence[Row], scores: Mapping[tuple[Any, ...], Sequence[Score]], provenance: Mapping[str, Any]
) -> Table | None:
    """False alarms and anomalies found, by class; None where no threshold is known of this very detector.

    scores  by data set, class, shots and seed of support. Rows with support images are left out
    Raises UserError for damaged thresholds.
    """
    if not (place := provenance.get("checkpoint")):
        return None
    thresholds = read_thresholds(thresholds_file(Path(place)))
    lines = []
    for row in rows:
        threshold = thresholds.get(row["class_name"])
        of_row = scores.get((row["dataset"], row["class_name"], row.get("shots"), row.get("support_seed")), ())
        labelled = [score for score in of_row if score["label"] in (0, 1) and score["score"] is not None]
        if threshold is None or not labelled or not _is_of(threshold, row, provenance):
            continue
        above = [
            [score["score"] > threshold.value for score in labelled if score["label"] == label] for label in (0, 1)
        ]
        counts = [f"{sum(flags)} of {len(flags)}" for flags in above]
        names = [Cell(str(row["dataset"]), "text"), Cell(str(row["class_name"]), "text")]
        facts = [Cell(f"{threshold.value:.6g}"), Cell(_rule(threshold), "text")]
        lines.append(("", [*names, *facts, *map(Cell, counts)]))
    heads = ("data", "class", "threshold", "found", "false alarms", "anomalies found")
    head = [Cell(name, "text" if name in ("data", "class", "found") else "") for name in heads]
    return Table(head, lines, about=ABOUT) if lines else None


def _is_of(threshold: Threshold, row: Row, provenance: Mapping[str, Any]) -> bool:
    """Whether the threshold was found with the detector that the row is of."""
    then = threshold.detector
    same = (then["method"], then["weights_sha256"], then["backbone"]["weights_sha256"]) == (
        *(row["method"], row.get("weights"), row.get("backbone_sha256")),
    )
    same_settings = then["hyperparameters"] == provenance.get("hyperparameters")
    return same and same_settings and not row.get("shots") and threshold.support_sha256 is None


def _rule(threshold: Threshold) -> str:
    if threshold.rule == "conformal":
        sure = "on average" if threshold.confidence == "average" else f"with confidence {threshold.confidence:g}"
        return f"at most {100 * (threshold.fpr or 0):g} % false alarms {sure}, from {threshold.n} normal pictures"
    at = "largest F1" if threshold.rule == "f1max" else f"recall {threshold.recall:g}"
    return f"by the labels of {threshold.n} images: {at}"
