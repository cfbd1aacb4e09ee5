"""A folder of collected runs that can be kept under git, and the site that it is shown as.

entries/<method>_<data>_<hash>.json   a run: its rows and what they were made with, but no paths of a machine
index.html, ledger.md                 all runs, and all figures that they are held against
runs.csv, ledger.csv                  the same as data
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adbench.atomic import write_json, write_text
from adbench.engine.means import is_over_datasets
from adbench.engine.names import file_name
from adbench.engine.settings import Row
from adbench.errors import UserError
from adbench.metrics.registry import in_order, title
from adbench.report.csv_text import csv_line
from adbench.report.ledger import LedgerLine, hold_against, to_csv, to_markdown
from adbench.report.ledger_page import figure_sections, text_table
from adbench.report.page import Section, Table, render
from adbench.report.published import Published, load_published
from adbench.report.results import escaped, markdown_line, without_nan
from adbench.report.schema import checked_results
from adbench.report.table import cell, condensed, is_mean
from adbench.report.verdicts import JudgedRun, reasons_against
from adbench.structured import read_json

HEADING = "Ledger"
_FACTS = ("run", "method", "data", "shots", "backbone", "trained on")
_OF_RUN = ("adbench", "git", "versions", "time", "seed", "device", "method", "intervals")
_OF_PART = ("evaluated", "hyperparameters", "backbone", "plugin")
"""What of a run's provenance an entry keeps: the command and its paths stay where they are."""


def add_run(ledger: Path, rows: Sequence[Row], run: Mapping[str, Any], *, sha256: str, **told: Any) -> Path:
    """Keep a run as an entry; its file. `sha256`: of its results.json; `told`: changes and checks (lists of words).

    A run that is there already keeps its entry, with what is told of it now.
    """
    data = "+".join(dict.fromkeys(str(row["dataset"]) for row in rows if not is_over_datasets(row)))
    methods = "+".join(dict.fromkeys(str(row["method"]) for row in rows))
    path = ledger / "entries" / f"{file_name(f'{methods}_{data}'[:80])}_{sha256[:12]}.json"
    kept = _told(run, _OF_RUN)
    if "parts" in run:
        kept["parts"] = [_told(part, _OF_PART) for part in run["parts"]]
    else:
        kept |= _told(run, _OF_PART)
    kept["data"] = [_told(data, data) for data in run.get("data", ())]
    entry = {"results_sha256": sha256, **told, "run": kept, "rows": list(rows)}
    write_json(path, without_nan(entry))
    return path


def _told(facts: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Some of the facts; of a plug-in its hash alone, not where it lies."""
    told = {key: facts[key] for key in keys if key in facts}
    if told.get("plugin"):
        told["plugin"] = {"sha256": told["plugin"].get("sha256")}
    return told


def read_entries(ledger: Path) -> list[JudgedRun]:
    """The runs of a ledger, by the names of their files. Raises UserError for a damaged entry."""
    return [_read(path) for path in sorted((ledger / "entries").glob("*.json"))]


def _read(path: Path) -> JudgedRun:
    hint = "restore the file, or remove it and add its run again"
    content = read_json(path, hint=hint)
    try:
        run, rows = checked_results(content)
        changes, sha256 = content["changes"], str(content["results_sha256"])
    except (UserError, KeyError) as error:
        raise UserError(f"this is no entry of a ledger: {error}", where=str(path), hint=hint) from error
    return JudgedRun(path.stem, run, rows, [str(change) for change in changes], sha256=sha256)


def write_site(ledger: Path) -> list[Path]:
    """Write the site of what is in the ledger; its files. The same entries give the same files."""
    runs = read_entries(ledger)
    held = [(run, row, _lines(run, row)) for run in runs for row in condensed(run.rows) if is_mean(row)]
    held = [(run, row, lines) for run, row, lines in held if not is_over_datasets(row)]
    every = [line for run in runs for line in hold_against(_figures(run.rows), [run])]
    metrics = in_order(key for _, row, _ in held for key in row)
    heads = [*_FACTS, *(title(metric) for metric in metrics), "standing"]
    table = [[*_facts(run, row), *(cell(key, row) if key in row else "" for key in metrics)] for run, row, _ in held]
    standings = [standing(run, row, lines) for run, row, lines in held]
    body = [[*cells, said] for cells, said in zip(table, standings, strict=True)]
    overview = Section("Runs", [_overview(heads, table, standings)] if body else [])
    summary = f"{len(runs)} runs; a run is held against every figure of its method, data and number of shots"
    markdown = [markdown_line(heads), markdown_line(["---"] * len(heads))]
    markdown += [markdown_line([escaped(text) for text in cells]) for cells in body]
    texts = {
        "index.html": render(HEADING, summary, [overview, *figure_sections(every)]),
        "ledger.md": "\n".join([f"# {HEADING}: runs", "", *markdown, "", to_markdown(every, f"{HEADING}: figures")]),
        "runs.csv": "".join(csv_line(cells) for cells in (heads, *body)),
        "ledger.csv": to_csv(every),
    }
    for name, text in texts.items():
        write_text(ledger / name, text)
    return [ledger / name for name in texts]


def _overview(heads: Sequence[str], lines: Sequence[Sequence[str]], standings: Sequence[str]) -> Table:
    """The table of runs for a screen: the standing before the figures, and below the table, for it may be long, why."""
    facts = len(_FACTS)
    short = [said.partition(": ")[0] for said in standings]
    body = [[*cells[:facts], said, *cells[facts:]] for cells, said in zip(lines, short, strict=True)]
    notes = [f"{cells[0]}, {cells[2]}: {said}" for cells, said in zip(lines, standings, strict=True) if ": " in said]
    return replace(text_table([*heads[:facts], heads[-1], *heads[facts:-1]], body), notes=notes)


def standing(run: JudgedRun, row: Row, lines: Sequence[LedgerLine]) -> str:
    """What a row comes to beside the figures of its subject, in a few words."""
    reasons = reasons_against(row, run)
    compared = [line for line in lines if line.verdict.state != "not comparable"]
    if reasons:
        return f"not comparable: {'; '.join(reasons)}"
    if compared:
        reproduced = sum(line.verdict.state == "reproduced" for line in compared)
        return f"reproduces {reproduced} of {len(compared)} figures"
    return f"not comparable: {lines[0].verdict.why}" if lines else "no figure of this setting is known"


def _facts(run: JudgedRun, row: Row) -> list[str]:
    trained_on = row.get("trained_on")
    told = "?" if trained_on is None else "+".join(trained_on) or "nothing"
    shots = "" if row.get("shots") is None else str(row["shots"])
    return [run.label, str(row["method"]), str(row["dataset"]), shots, str(row.get("backbone")), told]


def _lines(run: JudgedRun, row: Row) -> list[LedgerLine]:
    return hold_against(_figures([row]), [run])


def _figures(rows: Sequence[Row]) -> list[Published]:
    """The published figures of the subjects of rows, reruns by others left out."""
    subjects = {(row["method"], row["dataset"], row["class_name"], row.get("shots")) for row in rows}
    return [
        figure for figure in load_published() if figure.kind != "rerun" and (*figure.subject, figure.shots) in subjects
    ]
