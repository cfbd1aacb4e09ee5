"""Several runs beside each other: means with what is published, classes with differences and intervals, curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from adbench.engine.curves import read_curves
from adbench.engine.means import is_over_datasets
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import Row
from adbench.metrics.registry import in_order, title
from adbench.report.comparison import Comparison, Run, compare, shown
from adbench.report.gains import Gain, Gains, gains
from adbench.report.html import ABOUT_PLOTS, made, named_draw, scores_by_result
from adbench.report.html_tables import bar_start, metric_cell, ranked
from adbench.report.page import Cell, Part, Plots, Section, SideBySide, Table, Text, render
from adbench.report.plots import line_style, score_plots
from adbench.report.seeds import FinishedRun, over_seeds
from adbench.report.table import cell, condensed, is_mean

MOST_LINES = 6  # runs in a drawing: there are no more colours
MOST_NAMES = 6  # runs in the heading
MOST_DIFFERENCES = 5  # runs with which a table still fits on a screen with differences


class Beside(NamedTuple):
    """Runs that are shown, those of several training seeds as one; per shown run what it gains over the first."""

    runs: list[Run]
    comparison: Comparison
    gains: list[Gains]

    @property
    def notes(self) -> list[str]:
        """What must be known of the intervals, or why there are none."""
        return list(dict.fromkeys(note for gained in self.gains for note in gained.notes))


def put_beside(runs: Sequence[FinishedRun]) -> Beside:
    """Compare runs with each other, by intervals where there can be some, and with published figures."""
    shown_runs = over_seeds(runs)
    gained = [Gains({}), *(gains(shown_runs[0], run) for run in shown_runs[1:])]
    return Beside(shown_runs, compare(shown_runs), gained)


def tables(beside: Beside) -> list[Table]:
    """All tables: of the means with published figures, then of each data set's classes one for each metric."""
    shown = [means_table(beside.comparison)]
    for dataset in _datasets(beside.runs):
        shown += class_tables(beside, dataset)
    return [*shown[:-1], replace(shown[-1], notes=about(beside))]


def about(beside: Beside) -> list[str]:
    """What the differences and their intervals are."""
    if len(beside.runs) < 2:
        return []
    if len(beside.runs) > MOST_DIFFERENCES:
        return [f"Differences are shown of up to {MOST_DIFFERENCES} runs; report.csv has those of all."]
    differences = f"Differences are to {beside.runs[0].label}, in points"
    if made_by := list(dict.fromkeys(gained.about for gained in beside.gains if gained.about)):
        differences += f"; in brackets 95 % intervals {'; '.join(made_by)}. Bold: an interval without 0"
    return [f"{differences}.", *beside.notes]


def page(runs: Sequence[FinishedRun], beside: Beside) -> str:
    """The page of all runs as text."""
    sections = [Section("Runs", [_runs_table(runs)]), Section("Means", [means_table(beside.comparison)])]
    notes = [Text(note) for note in about(beside)]
    for dataset in _datasets(beside.runs):
        sections.append(Section(f"Classes: {dataset}", [*notes, SideBySide(class_tables(beside, dataset))]))
        sections.append(Section(f"Curves: {dataset}", _curves(runs, dataset)))
    made_parts = [part for run in runs for part in made(run.folder, run.provenance, run.label)]
    sections.append(Section("How they were made", made_parts))
    names = [run.label for run in beside.runs]
    title = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
    return render(title, f"{', '.join(_datasets(beside.runs))}: {len(runs)} runs beside each other", sections)


def _datasets(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(str(row["dataset"]) for run in runs for row in run.rows if not is_over_datasets(row)))


def _runs_table(runs: Sequence[FinishedRun]) -> Table:
    heads = ("run", "method", "backbone", "weights", "trained on", "seed", "protocol", "made", "folder")
    rows = []
    for run in runs:
        row = run.rows[0]
        facts = [row["method"], row.get("backbone"), (row.get("weights") or "none")[:12]]
        facts += [", ".join(row["trained_on"]) or "nothing" if row.get("trained_on") is not None else "unknown"]
        facts += [row.get("seed"), row.get("protocol"), str(run.provenance.get("time") or "")[:16], run.folder]
        texts = ["" if fact is None else str(fact) for fact in facts]
        rows.append(("", [Cell(run.label, "text"), *(Cell(text, "text") for text in texts)]))
    return Table([Cell(head, "text") for head in heads], rows)


def means_table(comparison: Comparison) -> Table:
    """The means of every run and data set, best and second marked, each with what is published of it."""
    lines = [line for line in comparison.lines if is_mean(line.row)]
    metrics = in_order(key for line in lines for key in line.values)
    head = [Cell(text, "text") for text in ("run", "data", "shots")]
    values = {key: [line.row.get(key) for line in lines if line.kind == "ours"] for key in metrics}
    starts = {key: bar_start(values[key]) for key in metrics}
    head += [Cell(title(key), small=f"{starts[key]:g}–100") for key in metrics]
    rows, before = [], None
    for line in lines:
        place = line.row["dataset"], line.row.get("shots")
        rivals = [o.row for o in lines if o.kind == "ours" and (o.row["dataset"], o.row.get("shots")) == place]
        facts = [line.name, str(place[0]), "" if place[1] is None else str(place[1])]
        cells = [Cell(fact, "text") for fact in facts]
        for key in metrics:
            if line.kind == "ours":
                cells.append(
                    metric_cell(shown(line, key), line.row.get(key), _mark(line.row, rivals, key), starts[key])
                )
            else:
                cells.append(Cell(shown(line, key)))
        style = "first" if line.kind == "ours" and place != before else ""
        rows.append((line.kind if line.kind != "ours" else style, cells))
        before = place
    return Table(head, rows, comparison.notes, "Bold: the best of a data set; underlined: the second.")


def class_tables(beside: Beside, dataset: str) -> list[Table]:
    """For each metric a table of a data set's classes: every run on it, and the difference of each to the first."""
    by_run = [
        {(row["class_name"], row.get("shots")): row for row in condensed(run.rows) if row["dataset"] == dataset}
        for run in beside.runs
    ]
    places = sorted(
        dict.fromkeys(place for rows in by_run for place in rows),
        key=lambda place: (place[1] or 0, place[0] == "mean"),
    )
    metrics = in_order(key for rows in by_run for row in rows.values() for key in row)
    on_it = [number for number, rows in enumerate(by_run) if rows]
    has_differences = on_it[0] == 0 and len(beside.runs) <= MOST_DIFFERENCES
    of_set = beside._replace(runs=[beside.runs[n] for n in on_it], gains=[beside.gains[n] for n in on_it])
    by_run = [by_run[number] for number in on_it]
    return [_class_table(of_set, dataset, metric, places, by_run, has_differences) for metric in metrics]


def _class_table(
    beside: Beside,
    dataset: str,
    metric: str,
    places: Sequence[tuple[str, int | None]],
    by_run: Sequence[Mapping[tuple[str, int | None], Row]],
    has_differences: bool,
) -> Table:
    values = [row.get(metric) for rows in by_run for row in rows.values()]
    start = bar_start(values)
    head = [Cell("class", "text")]
    for number, run in enumerate(beside.runs):
        head.append(Cell(run.label, small=f"{start:g}–100"))
        head += [Cell("difference")] * (number > 0 and has_differences)
    rows = []
    for place in places:
        present = [rows_of_run.get(place) for rows_of_run in by_run]
        first = present[0]
        name = place[0] if place[1] in (None, 0) else f"{place[0]}, K = {place[1]}"
        cells = [Cell(name, "text")]
        for number, row in enumerate(present):
            value = None if row is None else row.get(metric)
            text = "" if row is None or metric not in row else cell(metric, row)
            cells.append(metric_cell(text, value, _mark(row, present, metric), start))
            if number and has_differences:
                gained = beside.gains[number]
                compared = None if (dataset, *place) in gained.others or first is None else first.get(metric)
                cells.append(_difference(compared, value, gained.by_place.get((dataset, *place, metric))))
        rows.append(("mean" if place[0] == "mean" else "", cells))
    return Table(head, rows, heading=f"{dataset}: {title(metric)}")


def _mark(row: Row | None, present: Sequence[Row | None], metric: str) -> str:
    """Whether a row is the best or the second of those over as many images."""
    if row is None:
        return ""
    rivals = [other for other in present if other is not None and other.get("n_images") == row.get("n_images")]
    return ranked([other.get(metric) for other in rivals], metric).get(row.get(metric), "")


def _difference(first: float | None, second: float | None, gain: Gain | None) -> Cell:
    if first is None or second is None or math.isnan(second - first):
        return Cell("")
    text = f"{100 * (second - first):+.1f}"
    if gain is None or math.isnan(gain.low):
        return Cell(text, "unsure")
    is_sure = gain.low > 0 or gain.high < 0
    return Cell(f"{text} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]", "sure" if is_sure else "unsure")


def _curves(runs: Sequence[FinishedRun], dataset: str) -> list[Part]:
    """Curves of each class and draw of a data set, a line for each run."""
    drawn = runs[:MOST_LINES]
    scores = [scores_by_result(run.folder) for run in drawn]
    pro = [read_curves(RunFolder(run.folder), dataset) for run in drawn]
    parts: list[Part] = []
    for row in _draws(drawn, dataset):
        draw = row["class_name"], row.get("shots"), row.get("support_seed")
        drawings = score_plots([of_run.get((dataset, *draw), ()) for of_run in scores], [p.get(draw, ()) for p in pro])
        if drawings:
            parts.append(Plots(named_draw(row), drawings))
    legend = [(line_style(number, len(drawn)), run.label) for number, run in enumerate(drawn)]
    left_out = f" The first {MOST_LINES} runs:" if len(runs) > MOST_LINES else ""
    return [Text(f"{ABOUT_PLOTS}.{left_out}", legend=legend), *parts] if parts else []


def _draws(runs: Sequence[Run], dataset: str) -> Iterator[Row]:
    """A row of each class and draw that any run has."""
    seen = set()
    for run in runs:
        for row in run.rows:
            place = row["class_name"], row.get("shots"), row.get("support_seed")
            if row["dataset"] == dataset and place not in seen:
                seen.add(place)
                yield row
