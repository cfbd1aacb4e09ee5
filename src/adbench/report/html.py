"""One self-contained HTML page per evaluation: tables with bars, curves, heat maps, loss curve, provenance."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from adbench.atomic import write_text
from adbench.engine.means import is_over_datasets
from adbench.engine.names import file_name
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import Row
from adbench.engine.train_logger import read_history
from adbench.report.curves import loss_curve
from adbench.report.galleries import galleries
from adbench.report.html_style import STYLE
from adbench.report.html_tables import interval_table, published_table, result_table
from adbench.report.results import read_results
from adbench.report.score_plots import score_plots
from adbench.report.scores import FILE as SCORES_FILE
from adbench.report.scores import Score, read_scores
from adbench.report.table import is_mean

RESULT_KEY = ("dataset", "class_name", "shots", "support_seed")  # what tells which scores make a row


def write_html(folder: Path, *, training: Path | None = None) -> Path:
    """Write report.html from what `folder` holds; `training`: the run whose loss curve it shows.

    Raises UserError when `folder` has no results.json.
    """
    provenance, rows = read_results(folder)
    history = [] if training is None else read_history(RunFolder(training).history_path)
    scores = read_scores(folder) if (folder / SCORES_FILE).is_file() else []
    config_path = folder / "config.yaml"
    config = config_path.read_text(encoding="utf-8", errors="replace") if config_path.is_file() else ""
    heatmaps = RunFolder(folder).heatmaps_dir
    path = folder / "report.html"
    write_text(path, page(rows, provenance, scores=scores, history=history, config=config, heatmaps=heatmaps))
    return path


def page(
    rows: Sequence[Row],
    provenance: Mapping[str, Any],
    *,
    scores: Sequence[Score] = (),
    history: Sequence[Mapping[str, Any]] = (),
    config: str = "",
    heatmaps: Path,
) -> str:
    """The page as text; `config`: the settings as YAML."""
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    datasets = list(dict.fromkeys(str(row["dataset"]) for row in rows if not is_over_datasets(row)))
    title = f"{', '.join(methods)} on {', '.join(datasets)}"
    sections = _results(rows, methods, datasets)
    if intervals := provenance.get("intervals"):
        sections.append(("How sure the image metrics are", interval_table(rows, intervals)))
    sections.append(("Published figures", published_table(rows)))
    for dataset in datasets:
        of_dataset = [row for row in rows if row["dataset"] == dataset]
        sections.append((f"Scores: {dataset}", _plots(of_dataset, scores)))
        sections.append((f"Heat maps: {dataset}", galleries(of_dataset, heatmaps / file_name(dataset))))
    if curve := loss_curve(history):
        about = "<p class=faint>thin: between log points, thick: mean of an epoch</p>"
        sections.append(("Training loss", about + curve))
    sections.append(("How it was made", _made(provenance, config)))
    sections = [(heading, content) for heading, content in sections if content]
    links = "".join(f'<a href="#{number}">{escape(heading)}</a>' for number, (heading, _) in enumerate(sections))
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        _summary(rows, provenance),
        f"<nav>{links}</nav>",
        *(f'<h2 id="{number}">{escape(heading)}</h2>{content}' for number, (heading, content) in enumerate(sections)),
    ]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _results(rows: Sequence[Row], methods: Sequence[str], datasets: Sequence[str]) -> list[tuple[str, str]]:
    """Headings and tables: the means of several data sets, then each data set's classes."""
    found = []
    if len(datasets) > 1:
        means = [row for row in rows if is_mean(row)]
        found.append(("Means over classes and over data sets", result_table(means, "data")))
    for method in methods:
        for dataset in datasets:
            matching = [row for row in rows if (row["method"], row["dataset"]) == (method, dataset)]
            if matching:
                found.append((f"{method} on {dataset}", result_table(matching)))
    return found


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


def _summary(rows: Sequence[Row], provenance: Mapping[str, Any]) -> str:
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
    kind = f"{', '.join(shots)} normal images per class were shown" if shots not in ([], ["0"]) else None
    return f"<p class=faint>{escape(' · '.join(fact for fact in [*facts, kind] if fact))}</p>"


def _fact(name: str, value: Any) -> str:
    return "" if value is None else f"{name} {value}"


def _plots(rows: Sequence[Row], scores: Sequence[Score]) -> str:
    """Curves and histogram of each class and draw of support, in the table's order."""
    by_result: dict[tuple[Any, ...], list[Score]] = {}
    for score in scores:
        by_result.setdefault(tuple(score[key] for key in RESULT_KEY), []).append(score)
    shown = []
    for row in rows:
        of_class = by_result.get(tuple(row.get(key) for key in RESULT_KEY), [])
        if plots := score_plots(of_class, row.get("image_f1max_threshold")):
            draw = [_fact("K =", row.get("shots") or None), _fact("support seed", row.get("support_seed"))]
            name = ", ".join([str(row["class_name"]), *filter(None, draw)])
            shown.append(f"<h3>{escape(name)}</h3><div class=plots>{''.join(plots)}</div>")
    about = (
        "<p class=faint>true-positive rate over false-positive rate; precision over recall; shares of the "
        "<span class=normal-name>normal</span> and the <span class=anomalous-name>anomalous</span> images over their "
        "score, dashed: the threshold of the largest F1</p>"
    )
    return about + "".join(shown) if shown else ""


def _made(provenance: Mapping[str, Any], config: str) -> str:
    """Command, environment, settings, and everything that was recorded."""
    parts = []
    if command := provenance.get("command"):
        parts.append(f"<h3>Command</h3><pre>{escape(shlex.join(map(str, command)))}</pre>")
    facts = {"adbench": provenance.get("adbench"), "git": provenance.get("git"), **provenance.get("versions", {})}
    facts |= {key: provenance.get(key) for key in ("device", "seed")}
    lines = " · ".join(fact for fact in (_fact(name, value) for name, value in facts.items()) if fact)
    if lines:
        parts.append(f"<h3>Environment and seed</h3><p>{escape(lines)}</p>")
    record = json.dumps(provenance, indent=2, ensure_ascii=False)
    for name, text in (("Settings (config.yaml)", config), ("Record (results.json)", record)):
        if text:
            parts.append(f"<details><summary>{name}</summary><pre>{escape(text)}</pre></details>")
    return "".join(parts)
