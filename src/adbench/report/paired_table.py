"""A comparison of two runs for readers: cells of its table, comparison.md, .csv and .json."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from adbench.atomic import write_json, write_text
from adbench.errors import printable
from adbench.metrics.intervals import RESAMPLES
from adbench.metrics.registry import title
from adbench.report.csv_text import csv_text
from adbench.report.paired import Change, PairedComparison, PairedLine
from adbench.report.results import escaped, markdown_line, without_nan
from adbench.report.table import UNDEFINED, percent

NAMES = ("A", "B")
_IN_MARKDOWN = 100  # changed images that comparison.md lists


def explanation(comparison: PairedComparison) -> list[str]:
    """What the columns mean, and what they do not say."""
    n_classes = sum(not math.isnan(line.p_holm) for line in comparison.lines)
    lines = [
        f"B - A in points of {title(comparison.metric)}; 95 % interval and p by {RESAMPLES} bootstrap draws of the "
        f"images, the same for both runs, seed {comparison.seed}",
        f"p values are not corrected for their number; p (Holm) is, over {n_classes} classes",
        "changed: images that B alone, and that A alone, puts on the right side of its own F1-max threshold "
        "(anomalous iff score >= threshold)",
        "it is the chance of the test images alone: not of training, seeds or support sets",
    ]
    if any(not math.isnan(line.p_delong) for line in comparison.lines):
        lines.insert(2, "p (DeLong): of the AUROC of one class, not corrected")
    return lines


def headers(comparison: PairedComparison) -> list[str]:
    """The headers of the table; shots and DeLong's p where there are any."""
    return [header for header, _ in _columns(comparison)]


def printed(comparison: PairedComparison) -> Iterator[list[str]]:
    """The cells of each line, percent and points with one decimal."""
    columns = _columns(comparison)
    for line in comparison.lines:
        cells = _cells(line)
        yield [cells[key] for _, key in columns]


def changed(change: Change) -> str:
    """An image that changed sides, in one line."""
    draw = "" if change.support_seed is None else f" (k={change.shots}, seed {change.support_seed})"
    scores = (
        f"A {change.first_score:.4g} (threshold {change.first_threshold:.4g}), "
        f"B {change.second_score:.4g} (threshold {change.second_threshold:.4g})"
    )
    verdict = f"{change.defect}: {'B' if change.is_better else 'A'} alone is right"
    return f"{change.dataset} {change.class_name} {change.path}{draw}: {verdict}; {scores}"


def write_comparison(folder: Path, comparison: PairedComparison, runs: Sequence[str]) -> list[Path]:
    """Write comparison.json, .csv and .md of the two `runs`, each whole; their paths."""
    paths = [folder / f"comparison.{ending}" for ending in ("json", "csv", "md")]
    write_json(paths[0], without_nan(_content(comparison, runs)))
    write_text(paths[1], to_csv(comparison))
    write_text(paths[2], to_markdown(comparison, runs))
    return paths


def to_csv(comparison: PairedComparison) -> str:
    """One row per line under the names of its fields, in [0, 1] at full precision; empty where undefined."""
    keys = ("metric", *(field.name for field in fields(PairedLine)))
    return csv_text(keys, ({"metric": comparison.metric, **asdict(line)} for line in comparison.lines))


def to_markdown(comparison: PairedComparison, runs: Sequence[str]) -> str:
    """The table, what it means, and the images that changed sides."""
    names = headers(comparison)
    lines = [f"{name}: {escaped(run)}  " for name, run in zip(NAMES, runs, strict=True)]
    lines += ["", markdown_line(names), markdown_line([":--"] * 2 + ["--:"] * (len(names) - 2))]
    lines += [markdown_line([escaped(cell) for cell in cells]) for cells in printed(comparison)]
    lines += ["", *(f"- {escaped(note)}" for note in [*explanation(comparison), *comparison.notes])]
    if comparison.changes:
        shown = comparison.changes[:_IN_MARKDOWN]
        more = len(comparison.changes) - len(shown)
        lines += [
            "",
            "Images that changed sides:",
            "",
            *(f"- {escaped(printable(changed(change)))}" for change in shown),
        ]
        lines += [f"- and {more} more: all of them are in comparison.json"] * bool(more)
    return "\n".join(lines) + "\n"


def _content(comparison: PairedComparison, runs: Sequence[str]) -> dict[str, Any]:
    return {
        "runs": dict(zip(("first", "second"), runs, strict=True)),
        "metric": comparison.metric,
        "resamples": RESAMPLES,
        "seed": comparison.seed,
        "lines": [asdict(line) for line in comparison.lines],
        "changed": [
            {**asdict(change), "right": "second" if change.is_better else "first"} for change in comparison.changes
        ],
        "notes": comparison.notes,
    }


def _columns(comparison: PairedComparison) -> list[tuple[str, str]]:
    """Headers and keys of cells."""
    has_shots = any(line.shots for line in comparison.lines)
    has_delong = any(not math.isnan(line.p_delong) for line in comparison.lines)
    return [
        ("data", "dataset"),
        ("class", "class_name"),
        *[("shots", "shots")] * has_shots,
        ("images", "n_images"),
        ("A", "first"),
        ("B", "second"),
        ("B - A", "difference"),
        ("95 % interval", "interval"),
        ("p", "p"),
        ("p (Holm)", "p_holm"),
        *[("p (DeLong)", "p_delong")] * has_delong,
        ("changed", "changed"),
    ]


def _cells(line: PairedLine) -> Mapping[str, str]:
    undefined = math.isnan(line.difference)
    return {
        **{key: str(getattr(line, key)) for key in ("dataset", "class_name", "n_images")},
        "shots": "" if line.shots is None else str(line.shots),
        **{key: percent(getattr(line, key)) for key in ("first", "second")},
        "difference": UNDEFINED if undefined else _points(line.difference),
        "interval": UNDEFINED if math.isnan(line.low) else f"[{_points(line.low)}, {_points(line.high)}]",
        "p": _p(line.p) or UNDEFINED,
        **{key: _p(getattr(line, key)) for key in ("p_holm", "p_delong")},
        "changed": f"+{line.better} -{line.worse}" if line.better or line.worse else "0",
    }


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _p(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}" if value >= 0.0005 else "<0.001"
