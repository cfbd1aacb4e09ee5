"""report.html of an evaluation: tables with bars, curves, heat maps, the training's curves, how it was made."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.atomic import write_text
from adbench.engine.curves import read_curves
from adbench.engine.means import is_over_datasets
from adbench.engine.names import file_name
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import Row
from adbench.engine.train_logger import read_history
from adbench.report.comparison import Comparison, Line, Run, compare
from adbench.report.galleries import galleries
from adbench.report.html_tables import interval_table, published_table, result_table
from adbench.report.page import Part, Plots, Section, Text, render
from adbench.report.plots import score_plots, training_plots
from adbench.report.results import read_results
from adbench.report.scores import FILE as SCORES_FILE
from adbench.report.scores import Score, read_scores
from adbench.report.table import has_intervals, is_mean
from adbench.report.threshold_table import threshold_table

RESULT_KEY = ("dataset", "class_name", "shots", "support_seed")  # what tells which scores make a row
ABOUT_PLOTS = (
    "True-positive rate over false-positive rate; precision over recall; mean share found of every annotated region "
    "(PRO) over the false-positive rate of pixels, up to the limit of AUPRO"
)


def write_html(folder: Path, *, training: Path | None = None) -> Path:
    """Write report.html from what `folder` holds; `training`: the run whose curves it shows.

    Raises UserError when `folder` has no results.json.
    """
    provenance, rows = read_results(folder)
    history = [] if training is None else read_history(RunFolder(training).history_path)
    path = folder / "report.html"
    write_text(path, _page(folder, rows, provenance, history))
    return path


def _page(
    folder: Path, rows: Sequence[Row], provenance: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> str:
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    datasets = list(dict.fromkeys(str(row["dataset"]) for row in rows if not is_over_datasets(row)))
    published = compare([Run("this run", rows)])
    sections = _results(rows, methods, datasets, published)
    if any(line.kind != "ours" for line in published.lines):
        sections.append(Section("Published figures", [published_table(published)]))
    if (intervals := provenance.get("intervals")) and has_intervals(rows):
        sections.append(Section("How sure the image metrics are", [interval_table(rows, intervals)]))
    scores = scores_by_result(folder)
    if (thresholds := threshold_table(rows, scores, provenance)) is not None:
        sections.append(Section("At the calibrated thresholds", [thresholds]))
    for dataset in datasets:
        of_dataset = [row for row in rows if row["dataset"] == dataset]
        sections.append(Section(f"Curves: {dataset}", _plots(of_dataset, scores, RunFolder(folder))))
        heat_maps = galleries(of_dataset, RunFolder(folder).heatmaps_dir / file_name(dataset))
        sections.append(Section(f"Heat maps: {dataset}", heat_maps))
    if drawings := list(training_plots(history)):
        about = Text("Loss: thin between log points, thick the mean of an epoch; hover over a point for its number.")
        sections.append(Section("Training", [about, Plots("", drawings)]))
    sections.append(Section("How it was made", made(folder, provenance)))
    return render(f"{', '.join(methods)} on {', '.join(datasets)}", summary(rows, provenance), sections)


def _results(
    rows: Sequence[Row], methods: Sequence[str], datasets: Sequence[str], published: Comparison
) -> list[Section]:
    """The means of several data sets, then each data set's classes with what is published of their mean."""
    beside: dict[int, list[Line]] = {}
    for line in published.lines:
        if line.kind != "ours" and is_mean(line.row):
            beside.setdefault(id(line.row), []).append(line)
    sections = []
    if len(datasets) > 1:
        means = [row for row in rows if is_mean(row)]
        sections.append(Section("Means over classes and over data sets", [result_table(means, {}, "data")]))
    for method in methods:
        for dataset in datasets:
            matching = [row for row in rows if (row["method"], row["dataset"]) == (method, dataset)]
            if matching:
                sections.append(Section(f"{method} on {dataset}", [result_table(matching, beside)]))
    return sections


def _weights(rows: Sequence[Row]) -> str:
    """The weights that the rows were made with; where there are several, with the data sets that they served."""
    served: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.get("weights") and not is_over_datasets(row):
            served.setdefault(str(row["weights"])[:12], {})[str(row["dataset"])] = None
    if len(served) < 2:
        return f"weights {next(iter(served))}" if served else "no trained weights"
    shown = [f"{weights} ({', '.join(names)})" for weights, names in served.items()]
    return f"weights {', '.join(shown[:4])}" + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def summary(rows: Sequence[Row], provenance: Mapping[str, Any]) -> str:
    """Benchmark, backbone, weights, seed, protocol, version, time and shots of a run in one line."""
    first = rows[0]
    facts = [
        _fact("backbone", first.get("backbone")),
        _weights(rows),
        _fact("seed", first.get("seed")),
        _fact("protocol", first.get("protocol")),
        _fact("adbench", provenance.get("adbench")),
        str(provenance.get("time") or ""),
    ]
    if benchmark := provenance.get("benchmark"):
        absent = f", without {', '.join(benchmark['left_out'])}" if benchmark["left_out"] else ""
        facts.insert(0, f"benchmark {benchmark['name']}{absent}")
    shots = list(dict.fromkeys(str(row["shots"]) for row in rows if row.get("shots") is not None))
    if shots not in ([], ["0"]):
        facts.append(f"{', '.join(shots)} normal images per class were shown")
    return " · ".join(fact for fact in facts if fact)


def _fact(name: str, value: Any) -> str:
    return "" if value is None else f"{name} {value}"


def scores_by_result(folder: Path) -> dict[tuple[Any, ...], list[Score]]:
    """The scores of a run by RESULT_KEY; none where it has kept none."""
    by_result: dict[tuple[Any, ...], list[Score]] = {}
    for score in read_scores(folder) if (folder / SCORES_FILE).is_file() else ():
        by_result.setdefault(tuple(score[key] for key in RESULT_KEY), []).append(score)
    return by_result


def _plots(rows: Sequence[Row], scores: Mapping[tuple[Any, ...], Sequence[Score]], run: RunFolder) -> list[Part]:
    """Curves and histogram of each class and draw of support, in the table's order."""
    pro = read_curves(run, str(rows[0]["dataset"]))
    parts: list[Part] = []
    for row in rows:
        draw = row["class_name"], row.get("shots"), row.get("support_seed")
        drawings = score_plots(
            [scores.get((row["dataset"], *draw), ())], [pro.get(draw, ())], row.get("image_f1max_threshold")
        )
        if drawings:
            parts.append(Plots(named_draw(row), drawings))
    about = f"{ABOUT_PLOTS}; shares of images over their score, dashed: the threshold of the largest F1:"
    return [Text(about, legend=[("normal", "normal"), ("anomalous", "anomalous")]), *parts] if parts else []


def named_draw(row: Row) -> str:
    """Class and draw of support of a row."""
    draw = [_fact("K =", row.get("shots") or None), _fact("support seed", row.get("support_seed"))]
    return ", ".join([str(row["class_name"]), *filter(None, draw)])


def made(folder: Path, provenance: Mapping[str, Any], name: str = "") -> list[Part]:
    """Command, environment, support sets, settings, and everything that was recorded, of the run `name`."""
    parts: list[Part] = []
    of_run = f" of {name}" if name else ""
    if command := provenance.get("command"):
        parts.append(Text(shlex.join(map(str, command)), f"Command{of_run}", is_code=True))
    facts = {"adbench": provenance.get("adbench"), "git": provenance.get("git"), **provenance.get("versions", {})}
    facts |= {key: provenance.get(key) for key in ("device", "seed")}
    lines = " · ".join(fact for fact in (_fact(name, value) for name, value in facts.items()) if fact)
    if lines:
        parts.append(Text(lines, f"Environment and seed{of_run}"))
    config = folder / "config.yaml"
    texts = {
        "Support sets": "\n".join(_support_sets(provenance)),
        "Settings (config.yaml)": config.read_text(encoding="utf-8", errors="replace") if config.is_file() else "",
        "Record (results.json)": json.dumps(provenance, indent=2, ensure_ascii=False),
    }
    return [*parts, *(Text(text, heading + of_run, is_code=True, fold=True) for heading, text in texts.items() if text)]


def _support_sets(provenance: Mapping[str, Any]) -> list[str]:
    """A line for each support set: of what it is, how it was drawn, its images."""
    sets = [drawn for part in provenance.get("parts", [provenance]) for drawn in part.get("supports") or ()]
    return [
        f"{drawn['dataset']} {drawn['class_name']}, K = {drawn['k']}, {drawn['source']} seed {drawn.get('seed', '-')}: "
        + ", ".join(drawn["paths"])
        for drawn in sets
    ]
