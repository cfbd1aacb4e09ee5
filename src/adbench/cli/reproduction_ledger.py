"""The ledger of a reproduction: its finished evaluations held against the figures that its recipe is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from adbench.atomic import write_text
from adbench.cli.other_settings import backbone_file
from adbench.cli.reproduction import Recipe
from adbench.cli.reproduction_jobs import Job, values_of
from adbench.engine.run_folder import RunFolder
from adbench.engine.weights import file_sha256
from adbench.report.ledger import LedgerLine, hold_against, to_csv, to_markdown
from adbench.report.ledger_page import ledger_page
from adbench.report.published import KINDS, Published, load_published
from adbench.report.results import read_results
from adbench.report.verdicts import JudgedRun


def hold(
    recipe: Recipe, jobs: Sequence[Job], folder: Path, changes: Sequence[str], errors: Mapping[str, str]
) -> list[LedgerLine]:
    """A line for each figure of the recipe's method, kinds, data sets, shots and training data."""
    lines = []
    for job in jobs:
        if job.command == "eval":
            runs = [] if job.name in errors else [_finished(job, folder, changes)]
            absent = {job.data[0]: errors.get(job.name, "")} if job.name in errors else {}
            figures = figures_of(recipe, job)
            lines += hold_against(figures, runs, tolerance=recipe.tolerance, absent=absent)
    return sorted(lines, key=lambda line: line.figure.class_name != "mean")


def figures_of(recipe: Recipe, job: Job) -> list[Published]:
    """The published figures that an evaluation is held against."""
    shots = values_of(job.words, "support").get("k", 0)
    kinds = recipe.kinds or [kind for kind in KINDS if kind != "rerun"]
    numbers = [int(k) for k in (shots if isinstance(shots, list) else [shots])]
    return [
        figure
        for figure in load_published()
        if (figure.method, figure.dataset) == (recipe.method, job.data[0])
        and figure.kind in kinds
        and figure.shots in numbers
        and figure.trained_on in (None, job.trained_on)
    ]


def write_ledger(recipe: Recipe, lines: Sequence[LedgerLine], folder: Path) -> list[Path]:
    """Write ledger.html, ledger.md and ledger.csv into `folder`; their paths."""
    heading = f"Reproduction of {recipe.name}"
    remarks = [f"recipe {recipe.name}, version {recipe.version}", *recipe.remarks]
    texts = {
        "ledger.html": ledger_page(heading, lines, remarks),
        "ledger.md": to_markdown(lines, heading, remarks),
        "ledger.csv": to_csv(lines),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _finished(job: Job, folder: Path, changes: Sequence[str]) -> JudgedRun:
    out = folder / job.name
    run, rows = read_results(out)
    return JudgedRun(
        label=job.name,
        run=run,
        rows=rows,
        changes=(*changes, *backbone_file(RunFolder(out).config())),
        expected=values_of(job.recipe_words, "method"),
        other_split=frozenset(job.data if values_of(job.recipe_words, "data") else ()),
        sha256=file_sha256(out / "results.json"),
    )
