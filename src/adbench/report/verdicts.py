"""Whether a result reproduces a published figure: only where nothing stands between the two but chance.

A result that was selected on test data, is not zero-shot, transductive, made with another backbone or other settings,
or on other images is never called a reproduction, however near it comes: the verdict is "not comparable", and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from adbench.clip.presets import PRESETS
from adbench.data import catalogue
from adbench.data.support_sources import OWN_CHOICE
from adbench.engine.settings import Row
from adbench.methods import method_class, names
from adbench.report.published import Published
from adbench.report.table import is_mean
from adbench.structured import word

State = Literal["reproduced", "off", "not comparable"]
TOLERANCE = 1.0
"""Points by which a result may differ from a figure without a deviation of its own."""
_SLACK = 1e-9  # figures have one decimal: a difference of exactly the tolerance is within it


@dataclass(frozen=True)
class JudgedRun:
    """An evaluation that is held against published figures.

    label        what it is called in tables
    run, rows    as results.json has them
    changes      settings other than those of the figures, in words, as the command that knows them says
    expected     hyperparameters that differ from the method's defaults and are meant to, by name
    other_split  data sets of which other images than the published test images are meant to be evaluated
    sha256       of results.json
    """

    label: str
    run: Mapping[str, Any]
    rows: Sequence[Row]
    changes: Sequence[str] = ()
    expected: Mapping[str, Any] | None = None
    other_split: frozenset[str] = frozenset()
    sha256: str = ""

    def part(self, dataset: str) -> Mapping[str, Any]:
        """What the rows of a data set were made with: backbone, hyperparameters."""
        parts = self.run.get("parts")
        if not isinstance(parts, list):
            return self.run
        return next((part for part in parts if dataset in part.get("evaluated", ())), {})


@dataclass(frozen=True)
class Verdict:
    """What a result says of a figure. difference: ours minus theirs in points, None where there is no result."""

    state: State
    why: str = ""
    difference: float | None = None


def judge(figure: Published, row: Row, run: JudgedRun, tolerance: float = TOLERANCE) -> Verdict:
    """Hold a row against a figure of the same method, data set, class and number of shots.

    A figure with a deviation of its own is reproduced within that deviation, others within `tolerance` points.
    """
    value = row.get(figure.metric)
    if value is None or math.isnan(value):
        return Verdict("not comparable", f"{figure.metric} was not measured")
    difference = 100 * float(value) - figure.value
    if reasons := [*_of_pair(figure, row), *reasons_against(row, run)]:
        return Verdict("not comparable", "; ".join(reasons), difference)
    allowed = tolerance_of(figure, tolerance)
    return Verdict("reproduced" if abs(difference) <= allowed + _SLACK else "off", "", difference)


def tolerance_of(figure: Published, tolerance: float = TOLERANCE) -> float:
    """By how many points a result may differ from a figure."""
    return tolerance if figure.deviation is None else figure.deviation


def reasons_against(row: Row, run: JudgedRun) -> list[str]:
    """Why a row reproduces no published figure, whatever it comes to; empty where nothing speaks against it."""
    reasons = [
        *_of_weights(row),
        *_of_backbone(row, run),
        *_of_images(row, run),
        *_of_support(row),
        *_of_code(row, run),
        *_of_settings(row, run),
    ]
    return list(dict.fromkeys([*reasons, *run.changes]))


def _of_pair(figure: Published, row: Row) -> Iterator[str]:
    if figure.split:
        yield f"the figure is of the {figure.split.replace('_', ' ')} set, ours of images whose labels are public"
    if row.get("backbone") != figure.backbone:
        yield f"other backbone: {row.get('backbone')} instead of {figure.backbone}"
    theirs, ours = figure.trained_on, row.get("trained_on")
    if theirs is None:
        yield "it is not stated what the figure's weights were trained on"
    elif ours is not None and frozenset(ours) != theirs:
        yield f"trained on {_joined(ours)} instead of {_joined(theirs)}"


def _joined(datasets: Sequence[str] | frozenset[str]) -> str:
    return "+".join(sorted(datasets)) or "nothing"


def _of_weights(row: Row) -> Iterator[str]:
    notes = row.get("notes") or ()
    if row.get("zero_shot") is False:
        yield next((note for note in notes if note.startswith("not zero-shot")), "not zero-shot")
    elif row.get("trained_on") is None:
        yield "it is unknown what the weights were trained on"
    elif row.get("zero_shot") is None:
        yield "it is unknown whether the weights have seen the test images"
    if row.get("selected_on_test") is not False:
        held_out = next((note for note in notes if note.startswith("not held out")), "")
        yield held_out or ("selected on test data" if row.get("selected_on_test") else "its selection is unknown")
    told = next((note for note in notes if note.startswith("transductive")), "")
    if told or (row["method"] in names() and method_class(row["method"]).transductive):
        yield told or "transductive"


def _of_backbone(row: Row, run: JudgedRun) -> Iterator[str]:
    """Why the backbone is not the one that goes by its name. Files are checked by who knows them (`changes`)."""
    described = run.part(row["dataset"]).get("backbone", {})
    preset = next((preset for preset in PRESETS.values() if preset.model == row.get("backbone")), None)
    source = described.get("source")
    is_file = str(source).endswith((".pt", ".pth", ".bin", ".safetensors"))
    if preset is not None and not preset.module and source != preset.pretrained and not is_file:
        yield f"other weights of the backbone: {source} instead of {preset.pretrained}"


def _of_images(row: Row, run: JudgedRun) -> Iterator[str]:
    """Classes that are missing, and numbers of images other than the published ones, where these are known."""
    dataset = row["dataset"]
    if dataset not in catalogue.names() or dataset in run.other_split:
        return
    spec = catalogue.get(dataset)
    if is_mean(row) and spec.classes:
        classes = {other["class_name"] for other in run.rows if other["dataset"] == dataset and not is_mean(other)}
        if missing := len(set(spec.classes) - classes):
            yield f"{len(spec.classes) - missing} of {len(spec.classes)} classes"
            return
    expected = dict(spec.expected or {})
    counts = (
        list(expected.values())
        if is_mean(row)
        else [expected[name] for name in (row["class_name"],) if name in expected]
    )
    published = sum(count.normal + count.anomalous + count.mapped for count in counts)
    if published and row.get("n_images") != published:
        yield f"{row.get('n_images')} test images instead of {published}"


def _of_support(row: Row) -> Iterator[str]:
    """Why normal images were not drawn by a rule from the class's own."""
    if row.get("support_source") in OWN_CHOICE:
        yield f"support images of one's own choice (support.source={row['support_source']})"
    yield from (note for note in row.get("notes") or () if note.startswith("fitted to normal images of"))


def _of_code(row: Row, run: JudgedRun) -> Iterator[str]:
    """Why what ran is not what adbench ships."""
    if run.part(row["dataset"]).get("plugin"):
        yield "the method is a plug-in"
    data: Sequence[Mapping[str, Any]] = run.run.get("data", ())
    if any(part.get("plugin") for part in data if part.get("name") == row["dataset"]):
        yield "the data set is a plug-in"


def _of_settings(row: Row, run: JudgedRun) -> Iterator[str]:
    """Hyperparameters other than the method's own."""
    given = run.part(row["dataset"]).get("hyperparameters")
    if row["method"] not in names() or not isinstance(given, Mapping):
        yield "it is unknown with which settings it was made"
        return
    wanted = {**method_class(row["method"]).hyperparameter_defaults(), **(run.expected or {})}
    if untold := [key for key in wanted if key not in given]:
        yield f"it is unknown with which method.{', method.'.join(untold)} it was made"
    for key, value in wanted.items():
        if key in given and _plain(given[key]) != _plain(value):
            yield f"other settings: method.{key}={word(given[key])} instead of {word(value)}"


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
