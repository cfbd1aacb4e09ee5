"""The ledger: published figures, what came out here beside them, and whether that reproduces them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adbench.engine.rows import HIGH, LOW, MEAN, STD
from adbench.engine.settings import Row
from adbench.metrics.registry import in_order, title
from adbench.report.csv_text import csv_text
from adbench.report.published import Published
from adbench.report.results import escaped, markdown_line
from adbench.report.table import UNDEFINED, condensed, percent
from adbench.report.verdicts import TOLERANCE, JudgedRun, Verdict, judge, tolerance_of

COLUMNS = (
    *("paper", "method", "dataset", "class_name", "shots", "metric", "published", "deviation", "kind", "source"),
    *("note", "setting", "ours", "low", "high", "std", "difference", "tolerance", "verdict", "why", "run"),
    *("weights_sha256", "backbone", "backbone_sha256", "data_fingerprint", "n_images", "results_sha256"),
    *("adbench", "git"),
)
HEADS = ("data", "class", "shots", "metric", "published", "kind", "ours", "difference", "verdict")
RUN_HEADS = ("run", "data", "weights", "backbone", "data fingerprint", "results", "adbench")
"""Of the table of hashes below."""


@dataclass(frozen=True)
class LedgerLine:
    """A figure and what came out here. `row` and `run` are None where nothing did; the verdict then says why."""

    figure: Published
    verdict: Verdict
    tolerance: float
    row: Row | None = None
    run: JudgedRun | None = None

    @property
    def ours(self) -> str:
        """Percent, with the deviation over support seeds and the 95 % interval over the test images where there are."""
        if self.row is None or self.row.get(self.figure.metric) is None:
            return ""
        metric = self.figure.metric
        value, spread = percent(self.row[metric]), self.row.get(metric + STD)
        bounds = [percent(self.row.get(metric + end)) for end in (LOW, HIGH)]
        if percent(spread) != UNDEFINED:
            value += f" ± {percent(spread)}"
        return value if UNDEFINED in bounds else f"{value} [{', '.join(bounds)}]"

    @property
    def cells(self) -> list[str]:
        """What stands under HEADS."""
        figure, difference = self.figure, self.verdict.difference
        spread = "" if figure.deviation is None else f" ± {figure.deviation:g}"
        why = f": {self.verdict.why}" if self.verdict.why else ""
        return [
            figure.dataset,
            figure.class_name,
            str(figure.shots),
            title(figure.metric),
            f"{figure.value:.1f}{spread}",
            figure.kind,
            self.ours,
            "" if difference is None else f"{difference:+.1f}",
            f"{self.verdict.state}{why}",
        ]


def hold_against(
    figures: Sequence[Published],
    runs: Sequence[JudgedRun],
    *,
    tolerance: float = TOLERANCE,
    absent: Mapping[str, str] | None = None,
) -> list[LedgerLine]:
    """A line per figure, means before classes, by data set and metric. `absent`: data set -> why nothing came out."""
    lines = []
    for figure in figures:
        match = _row_for(figure, runs)
        allowed = tolerance_of(figure, tolerance)
        if match is None:
            why = (absent or {}).get(figure.dataset, "this class or number of shots was not evaluated")
            lines.append(LedgerLine(figure, Verdict("not comparable", why), allowed))
        else:
            run, row = match
            lines.append(LedgerLine(figure, judge(figure, row, run, tolerance), allowed, row, run))
    return _ordered(lines)


def _ordered(lines: Sequence[LedgerLine]) -> list[LedgerLine]:
    """Means first; within a data set the metrics in the order of all tables."""
    metrics = in_order({line.figure.metric for line in lines})
    places = list(dict.fromkeys(line.figure.dataset for line in lines))
    return sorted(
        lines,
        key=lambda line: (
            line.figure.class_name != MEAN,
            places.index(line.figure.dataset),
            line.figure.shots,
            line.figure.class_name,
            metrics.index(line.figure.metric),
        ),
    )


def _row_for(figure: Published, runs: Sequence[JudgedRun]) -> tuple[JudgedRun, Row] | None:
    """The row of the figure's subject and number of shots; the one that was trained on the same data, if there is."""
    matches = [
        (run, row)
        for run in runs
        for row in condensed(run.rows)
        if (row["method"], row["dataset"], row["class_name"], row.get("shots")) == (*figure.subject, figure.shots)
    ]
    same = [match for match in matches if match[1].get("trained_on") == sorted(figure.trained_on or ())]
    return next(iter([*same, *matches]), None)


def counts(lines: Sequence[LedgerLine]) -> str:
    """How many figures are reproduced, off and not comparable, in words."""
    states = [line.verdict.state for line in lines]
    numbers = ", ".join(f"{states.count(state)} {state}" for state in ("reproduced", "off", "not comparable"))
    return f"{len(lines)} figures: {numbers}"


def to_csv(lines: Sequence[LedgerLine]) -> str:
    """One line per figure under COLUMNS; values in [0, 1] as in results.csv."""
    return csv_text(COLUMNS, map(_record, lines))


def to_markdown(lines: Sequence[LedgerLine], heading: str, remarks: Sequence[str] = ()) -> str:
    """The ledger as Markdown: counts, the table, where the figures come from, hashes."""
    table = [markdown_line(HEADS), markdown_line([":--"] * 4 + ["--:", ":--", "--:", "--:", ":--"])]
    table += [markdown_line([escaped(cell) for cell in line.cells]) for line in lines]
    hashes = [markdown_line(RUN_HEADS), markdown_line([":--"] * len(RUN_HEADS))]
    hashes += [markdown_line([escaped(cell) for cell in cells]) for cells in hash_lines(lines)]
    told = [f"- {escaped(text)}" for text in (*remarks, *sources(lines))]
    return "\n".join([f"# {escaped(heading)}", "", f"{counts(lines)}.", "", *table, "", *told, "", *hashes]) + "\n"


def sources(lines: Sequence[LedgerLine]) -> list[str]:
    """Where the figures were read, and what is to be said of them, once each."""
    by_source: dict[str, dict[str, None]] = {}
    for line in lines:
        figure = line.figure
        notes = by_source.setdefault(f"{figure.paper}, {figure.kind}: {figure.source}", {})
        notes.update(dict.fromkeys(note for note in figure.note.split("; ") if note))
    return ["; ".join([source, *notes]) for source, notes in by_source.items()]


def hash_lines(lines: Sequence[LedgerLine]) -> list[list[str]]:
    """What the results were made with, a line per run and data set, under RUN_HEADS; hashes are shortened."""
    by_run: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if line.run is not None and line.row is not None:
            record = _record(line)
            keys = ("weights_sha256", "backbone", "data_fingerprint", "results_sha256", "adbench")
            cells = [str(record[key])[:12] if "sha" in key or "fing" in key else str(record[key]) for key in keys]
            cells[1] = f"{record['backbone']} {str(record['backbone_sha256'])[:12]}"
            by_run[line.run.label, line.figure.dataset] = [line.run.label, line.figure.dataset, *cells]
    return list(by_run.values())


def _record(line: LedgerLine) -> dict[str, Any]:
    figure, row, run = line.figure, line.row or {}, line.run
    provenance: Mapping[str, Any] = {} if run is None else run.run
    data: Mapping[str, Any] = next(
        (entry for entry in provenance.get("data", ()) if entry.get("name") == figure.dataset), {}
    )
    return {
        **{key: getattr(figure, key) for key in ("paper", "method", "dataset", "class_name", "shots", "metric")},
        **{key: getattr(figure, key) for key in ("kind", "source", "note", "setting")},
        "published": round(figure.value / 100, 6),
        "deviation": None if figure.deviation is None else round(figure.deviation / 100, 6),
        "ours": row.get(figure.metric),
        "low": row.get(figure.metric + LOW),
        "high": row.get(figure.metric + HIGH),
        "std": row.get(figure.metric + STD),
        "difference": None if line.verdict.difference is None else round(line.verdict.difference / 100, 6),
        "tolerance": round(line.tolerance / 100, 6),
        "verdict": line.verdict.state,
        "why": line.verdict.why,
        "run": "" if run is None else run.label,
        "weights_sha256": row.get("weights") or "",
        "backbone": row.get("backbone") or "",
        "backbone_sha256": row.get("backbone_sha256") or "",
        "data_fingerprint": data.get("fingerprint", ""),
        "n_images": row.get("n_images"),
        "results_sha256": "" if run is None else run.sha256,
        "adbench": provenance.get("adbench", ""),
        "git": provenance.get("git") or "",
    }
