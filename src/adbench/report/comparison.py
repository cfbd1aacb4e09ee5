"""Results of one or several runs beside each other and beside the published figures of the same setting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from adbench.data import catalogue
from adbench.engine.settings import Row
from adbench.metrics.registry import find, in_order, title
from adbench.report.published import Published, by_reliability, load_published
from adbench.report.table import cell, condensed, is_mean, percent

_Source = tuple[str, str, str]
"""Paper, kind and source of figures."""
_Told = tuple[int, dict[str, None]]
"""The number by which a source goes, and what is to be said of its figures."""
_DIFFERENCE = "difference: to the paper's own table where it is known, else to the first source; all are in report.csv"


@dataclass(frozen=True)
class Run:
    """A finished evaluation: what it is called in tables, and its rows."""

    label: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Line:
    """One line of the table; values by metric, percent.

    ours         a run's figures; `run` and `row` say whose, here and beside the other lines
    published    what one source prints (`published`)
    range        of the metrics that sources disagree on: `values` the lowest, `published` all that they print
    difference   ours minus the figure that most speaks for, in points
    """

    kind: Literal["ours", "published", "range", "difference"]
    name: str
    values: Mapping[str, float]
    run: Run
    row: Row
    published: Sequence[Published] = ()


@dataclass
class Comparison:
    """Lines in the table's order, and what a reader must know."""

    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> list[str]:
        """The metrics that any line has, in the order of all tables."""
        return in_order(key for line in self.lines for key in line.values)


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs: the mean rows of each, class rows where there are published figures for them."""
    comparison = Comparison()
    sources: dict[_Source, _Told] = {}
    for place in _places(runs):
        for run in runs:
            for row in condensed(run.rows):
                if (row["dataset"], row["class_name"], row.get("shots")) != place:
                    continue
                matching = _grouped(row)
                if is_mean(row) or matching:
                    comparison.lines += _lines(run, row, matching, sources)
    for (paper, kind, source), (number, notes) in sources.items():
        comparison.notes.append("; ".join([f"[{number}] {paper}, {kind}: {source}", *notes]))
    if any(line.kind == "difference" for line in comparison.lines):
        comparison.notes.append(_DIFFERENCE)
    comparison.notes += _remarks(runs, comparison.lines)
    return comparison


def printed(comparison: Comparison) -> Iterator[list[str]]:
    """The cells of each line; data set, class and shots only where they change."""
    before = None
    for line in comparison.lines:
        place = [
            line.row["dataset"],
            line.row["class_name"],
            "" if line.row.get("shots") is None else str(line.row.get("shots")),
        ]
        yield [
            *(place if place != before else [""] * 3),
            line.name,
            *(shown(line, key) for key in comparison.metrics),
        ]
        before = place


def shown(line: Line, metric: str) -> str:
    """What stands in the column of a metric; nothing where the line has no value for it."""
    if metric not in line.values:
        return ""
    if line.kind == "ours":
        return cell(metric, line.row)
    value = line.values[metric]
    if line.kind == "difference":
        return f"{value:+.1f}"
    figures = [figure for figure in line.published if figure.metric == metric]
    if line.kind == "range":
        return f"{percent(value / 100)}–{percent(max(figure.value for figure in figures) / 100)}"
    spread = figures[0].deviation
    return percent(value / 100) + ("" if spread is None else f" ± {spread:.1f}")


def _places(runs: Sequence[Run]) -> list[tuple[str, str, int | None]]:
    """Data sets, classes and K of all runs, those of a data set together."""
    rows = [row for run in runs for row in condensed(run.rows)]
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    places = dict.fromkeys((row["dataset"], row["class_name"], row.get("shots")) for row in rows)
    return sorted(places, key=lambda place: datasets.index(place[0]))


def _grouped(row: Row) -> dict[tuple[str, str, str], list[Published]]:
    """The published figures of the row's setting, by paper, kind and source, the most reliable kind first."""
    groups: dict[tuple[str, str, str], list[Published]] = {}
    for figure in by_reliability(figure for figure in load_published() if figure.fits(row)):
        groups.setdefault((figure.paper, figure.kind, figure.source), []).append(figure)
    return groups


def _lines(
    run: Run, row: Row, groups: Mapping[tuple[str, str, str], list[Published]], sources: dict[_Source, _Told]
) -> Iterator[Line]:
    ours = {key: 100 * row[key] for key in in_order(row) if row[key] is not None}
    yield Line("ours", f"{run.label}{'*' if row.get('notes') else ''}", ours, run, row)
    for source, figures in groups.items():
        number, told = sources.setdefault(source, (len(sources) + 1, {}))
        told.update(dict.fromkeys(note for figure in figures for note in figure.note.split("; ") if note))
        values = {figure.metric: figure.value for figure in figures}
        name = "rerun" if source[1] == "rerun" else "published"
        yield Line("published", f"{name} [{number}]", values, run, row, figures)
    every = [figure for figures in groups.values() for figure in figures]
    if disputed := _disputed(every):
        lowest = {key: min(figure.value for figure in figures) for key, figures in disputed.items()}
        yield Line(
            "range", "all sources", lowest, run, row, [figure for figures in disputed.values() for figure in figures]
        )
    comparable = {figure.metric: figure for figure in reversed(every) if row.get("backbone") in (None, figure.backbone)}
    less = {
        key: ours[key] - comparable[key].value
        for key in in_order(comparable)
        if not math.isnan(ours.get(key, math.nan))
    }
    if less:
        yield Line("difference", "difference", less, run, row)


def _disputed(figures: Sequence[Published]) -> dict[str, list[Published]]:
    """By metric what sources print that do not all print the same."""
    by_metric: dict[str, list[Published]] = {}
    for figure in figures:
        by_metric.setdefault(figure.metric, []).append(figure)
    return {key: group for key, group in by_metric.items() if len({figure.value for figure in group}) > 1}


def _remarks(runs: Sequence[Run], lines: Sequence[Line]) -> Iterator[str]:
    """What must be said of the comparison: other backbones, missing metrics, nothing to compare with."""
    published = [line for line in lines if line.kind == "published"]
    for run in runs:
        beside = [line for line in published if line.run is run]
        others = {
            (line.row.get("backbone"), figure.backbone)
            for line in beside
            for figure in line.published
            if line.row.get("backbone") not in (None, figure.backbone)
        }
        for ours, theirs in sorted(others):
            yield f"{run.label}: the backbone is {ours}, that of the published figures {theirs}: they do not compare"
        yield from _partial(run, beside)
        lacking = {figure.metric for line in beside for figure in line.published if figure.metric not in line.row}
        for key in in_order(lacking):
            if (matched := find(key)) is not None and matched.metric.asked_by:
                yield f"{run.label}: {title(key)} was not computed; {matched.metric.asked_by} does so"
        if any(line.row.get("trained_on") is None for line in beside):
            yield f"{run.label}: it is unknown what the weights were trained on"
        yield from _unmatched(run, beside)
        noted = [
            (line.row["dataset"], note) for line in lines if line.run is run for note in line.row.get("notes") or ()
        ]
        yield from (f"* {run.label} on {dataset}: {note}" for dataset, note in dict.fromkeys(noted))


def _partial(run: Run, published: Sequence[Line]) -> Iterator[str]:
    """Which means that have published ones beside them are over a part of the classes."""
    for dataset in dict.fromkeys(str(line.row["dataset"]) for line in published if is_mean(line.row)):
        present = {row["class_name"] for row in run.rows if row["dataset"] == dataset and not is_mean(row)}
        classes = catalogue.get(dataset).classes if dataset in catalogue.names() else ()
        if present and len(present) < len(classes):
            yield f"{run.label}: {dataset} with {len(present)} of {len(classes)} classes: its mean does not compare"


def _unmatched(run: Run, published: Sequence[Line]) -> Iterator[str]:
    """Which of the run's data sets have nothing published in its setting, and what other settings there are."""
    matched = {(line.row["dataset"], line.row.get("shots")) for line in published}
    rows = [row for row in condensed(run.rows) if is_mean(row) and (row["dataset"], row.get("shots")) not in matched]
    rows = [row for row in rows if "n_datasets" not in row]
    if not rows:
        return
    shown = ", ".join(dict.fromkeys(f"{row['dataset']} with {row.get('shots')} shots" for row in rows))
    yield f"{run.label}: nothing published is known of {rows[0]['method']} on {shown} in this setting"
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        settings = dict.fromkeys(
            figure.setting
            for figure in load_published()
            if (figure.method, figure.dataset) == (rows[0]["method"], dataset) and "class=" not in figure.setting
        )
        if settings:
            yield f"{run.label}: published of {dataset} in other settings: {'; '.join(settings)}"
