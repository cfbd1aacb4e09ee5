"""One self-contained HTML page per evaluation: tables with bars, heat maps, loss curve, provenance."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from adbench.atomic import write_text
from adbench.engine.means import is_over_datasets
from adbench.engine.names import file_name, file_names
from adbench.engine.rows import MEAN
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import Row
from adbench.engine.train_logger import read_history
from adbench.metrics.registry import is_metric
from adbench.report.curves import loss_curve
from adbench.report.results import about_intervals, read_results
from adbench.report.table import build_interval_table, build_table, is_mean

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --paper: #ffffff; --faint: #667085; --line: #d9dee7;
        --bar: #cfe0ff; --strong: #2457c5; --mark: #a3410a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8f0; --paper: #14171d; --faint: #98a2b3; --line: #2d3440; --bar: #24406f; --strong: #8ab4ff;
          --mark: #ffb27a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--faint); font-weight: 500; } .text { text-align: left; }
td.metric { background: linear-gradient(to right, var(--bar) var(--share), transparent var(--share));
            min-width: 4.2rem; }
tr.mean td { font-weight: 700; border-top: 2px solid var(--line); }
.note { color: var(--mark); } .faint { color: var(--faint); }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
svg { max-width: 720px; width: 100%; } svg text { fill: var(--faint); font-size: 12px; }
svg .grid { stroke: var(--line); } svg polyline { fill: none; stroke: var(--strong); }
svg .thin { opacity: .45; } svg .thick { stroke-width: 2; } svg circle { fill: var(--strong); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12.5px; }
"""
PICTURE_WIDTH = 960  # heat maps are shrunk to this for the page; the full ones lie in heatmaps/


def write_html(folder: Path, *, training: Path | None = None) -> Path:
    """Write report.html from what `folder` holds; `training`: the run whose loss curve it shows.

    Raises UserError when `folder` has no results.json.
    """
    provenance, rows = read_results(folder)
    history = [] if training is None else read_history(RunFolder(training).history_path)
    path = folder / "report.html"
    write_text(path, page(rows, provenance, history=history, heatmaps=RunFolder(folder).heatmaps_dir))
    return path


def page(
    rows: Sequence[Row], provenance: Mapping[str, Any], *, history: Sequence[Mapping[str, Any]] = (), heatmaps: Path
) -> str:
    """The page as text."""
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    datasets = list(dict.fromkeys(str(row["dataset"]) for row in rows if not is_over_datasets(row)))
    title = f"{', '.join(methods)} on {', '.join(datasets)}"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        _summary(rows, provenance),
    ]
    if len(datasets) > 1:
        parts += [
            "<h2>Means over classes and over data sets</h2>",
            _table([row for row in rows if is_mean(row)], "data"),
        ]
    for method in methods:
        for dataset in datasets:
            own = [row for row in rows if (row["method"], row["dataset"]) == (method, dataset)]
            if own:
                parts += [f"<h2>{escape(method)} on {escape(dataset)}</h2>", _table(own)]
    if intervals := provenance.get("intervals"):
        parts += ["<h2>How sure the image metrics are</h2>", *_intervals(rows, intervals)]
    curve = loss_curve(history)
    if curve:
        parts += ["<h2>Training loss</h2><p class=faint>thin: between log points, thick: mean of an epoch</p>", curve]
    for dataset in datasets:
        classes = [row["class_name"] for row in rows if row["dataset"] == dataset]
        parts += _pictures(dataset, classes, heatmaps / file_name(dataset))
    parts.append(f"<h2>How it was made</h2><pre>{escape(json.dumps(provenance, indent=2, ensure_ascii=False))}</pre>")
    return "\n".join([*parts, "</body></html>"]) + "\n"


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
        f"backbone {first.get('backbone')}",
        _weights(rows),
        f"seed {first.get('seed')}",
        f"protocol {first.get('protocol')}",
        f"adbench {provenance.get('adbench')}",
        str(provenance.get("time", "")),
    ]
    if benchmark := provenance.get("benchmark"):
        absent = f", without {', '.join(benchmark['left_out'])}" if benchmark["left_out"] else ""
        facts.insert(0, f"benchmark {benchmark['name']}{absent}")
    shots = list(dict.fromkeys(str(row["shots"]) for row in rows if row.get("shots") is not None))
    kind = f"{', '.join(shots)} normal images per class were shown" if shots not in ([], ["0"]) else None
    return f"<p class=faint>{escape(' · '.join(fact for fact in [*facts, kind] if fact))}</p>"


def _table(rows: Sequence[Row], by: str = "class") -> str:
    """The table of `rows` of one data set by class, or of means by data set."""
    table = build_table(rows)
    texts = ("class_name", "dataset", "method")
    if by == "class":
        hidden, strong = {"method", "dataset"}, is_mean
    else:
        hidden, strong = {"class_name"}, is_over_datasets
        if len({row["method"] for row in rows}) == 1:
            hidden.add("method")
    shown = [index for index, key in enumerate(table.keys) if key not in hidden]

    def cell(index: int, row: Row, text: str) -> str:
        key = table.keys[index]
        if key in texts:
            return f"<td class=text>{escape(text)}</td>"
        value = row.get(key)
        if not is_metric(key) or value is None or math.isnan(value):
            return f"<td>{escape(text)}</td>"
        return f'<td class=metric style="--share:{100 * value:.1f}%">{escape(text)}</td>'

    head = "".join(
        f"<th{' class=text' if table.keys[index] in texts else ''}>{escape(table.headers[index])}</th>"
        for index in shown
    )
    body = "".join(
        f"<tr{' class=mean' if strong(row) else ''}>{''.join(cell(index, row, cells[index]) for index in shown)}</tr>"
        for row, cells in zip(table.rows, table.lines, strict=True)
    )
    notes = "".join(f"<p class=note>* {escape(note)}</p>" for note in table.notes)
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{notes}"


def _intervals(rows: Sequence[Row], intervals: Mapping[str, Any]) -> list[str]:
    """The table of image metrics with their intervals."""
    table = build_interval_table(rows)
    lines = [
        "".join(f"<{tag}{_text_class(key)}>{escape(cell)}</{tag}>" for key, cell in zip(table.keys, cells, strict=True))
        for tag, cells in [("th", table.headers), *(("td", cells) for cells in table.lines)]
    ]
    head, body = lines[0], "".join(f"<tr>{line}</tr>" for line in lines[1:])
    return [
        f"<p class=faint>{escape(about_intervals(intervals))}</p>",
        f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
        *(f"<p class=note>* {escape(note)}</p>" for note in table.notes),
    ]


def _text_class(key: str) -> str:
    return " class=text" if key in ("class_name", "dataset", "method") else ""


def _pictures(dataset: str, classes: Sequence[str], folder: Path) -> list[str]:
    names = file_names(name for name in classes if name != MEAN)
    sheets = {name: folder / f"{file}.png" for name, file in names.items() if (folder / f"{file}.png").is_file()}
    if not sheets:
        return []
    parts = [
        f"<h2>Heat maps: {escape(dataset)}</h2>",
        "<p class=faint>image · outline of the annotation · anomaly map; colours run over the class's own range</p>",
    ]
    for class_name in sorted(sheets):
        name, shown = escape(class_name), _embedded(sheets[class_name])
        parts.append(f'<figure><figcaption>{name}</figcaption><img alt="heat maps of {name}" src="{shown}"></figure>')
    return parts


def _embedded(path: Path) -> str:
    """The picture as a data URI, shrunk to PICTURE_WIDTH."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    if small.width > PICTURE_WIDTH:
        small = small.resize((PICTURE_WIDTH, round(small.height * PICTURE_WIDTH / small.width)))
    data = io.BytesIO()
    small.save(data, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
