"""`adbench report`: results of finished runs beside each other and beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.cli.console import print_lines
from adbench.cli.overrides import Overrides
from adbench.cli.runs import out_folder, run_labels, split_runs
from adbench.errors import UserError, unknown
from adbench.typed import expanded

if TYPE_CHECKING:
    from adbench.report.seeds import FinishedRun
    from adbench.report.side_by_side import Beside

SUMMARY = "compare runs with each other and with published figures"

HELP = """\
usage  python -m adbench report RUN [RUN ...] [out=FILE|DIR] [format=html|markdown|latex|csv]

Prints the results of evaluations (their folders, results.json files, or folders of such folders; latest: the newest
one) beside what is published of the same method on the same data set in the same setting (shots, data trained on), and
the difference in points. Where the figures come from stands below the table: few could be checked in the papers
themselves. Results with another backbone than theirs, such as clip=demo, are marked and have no difference: it would
say nothing about a method. Runs that differ in nothing but the seed of their training become one: mean ± standard
deviation; differences of two such groups have intervals by Welch's t over the seeds.

  out=FILE.html             one page: means with published figures, classes with differences to the first run and
                            paired 95 % intervals, curves, how each run was made; or FILE.md, FILE.tex, FILE.csv
  out=DIR                   report.html, report.md, report.tex and report.csv there
  format=FORMAT             only this one; without out it is printed

examples
  python -m adbench report latest
  python -m adbench report outputs/eval/adaclip/visa/A outputs/eval/anomalyclip/visa/B out=comparison.html
  python -m adbench report outputs/eval/adaclip format=latex
"""

_STYLES = {"ours": "", "published": "dim", "range": "dim italic", "difference": "bold"}
_ENDINGS = {"html": ".html", "markdown": ".md", "latex": ".tex", "csv": ".csv"}


def run(argv: Sequence[str]) -> int:
    """Run `adbench report` with these words."""
    from adbench.atomic import write_text
    from adbench.metrics.registry import title
    from adbench.report.comparison import printed
    from adbench.report.side_by_side import put_beside

    words, overrides = split_runs("report", argv, "out", "format")
    if not words:
        raise UserError(
            "report needs a run", hint="name folders of evaluations: python -m adbench report RUN, or latest"
        )
    formats, out = _asked(overrides)
    files = {} if out is None else {name: _file(name, out) for name in formats}
    runs = _runs(list(dict.fromkeys(folder for word in words for folder in _evaluations(word))))
    beside = put_beside(runs)
    if out is None and formats:
        print(_text(formats[0], runs, beside), end="")
        return 0
    facts, metrics = (
        ("data", "class", "shots", ""),
        [title(key).replace(" ", "\n", 1) for key in beside.comparison.metrics],
    )
    styles = [_STYLES[line.kind] for line in beside.comparison.lines]
    print_lines((*facts, *metrics), printed(beside.comparison), left=facts, styles=styles, width=200)
    for note in [*beside.comparison.notes, *beside.notes]:
        print(note)
    for name, path in files.items():
        write_text(path, _text(name, runs, beside))
        print(path)
    return 0


def _asked(overrides: Overrides) -> tuple[list[str], Path | None]:
    """The formats that are asked for, and the file or folder. Raises UserError where they contradict each other."""
    asked = overrides.get("format")
    if asked is not None and asked not in _ENDINGS:
        raise unknown("format", str(asked), _ENDINGS, where=overrides.word("format"))
    formats = list(_ENDINGS) if asked is None else [asked]
    if "out" not in overrides:
        return [asked] if asked else [], None
    out = expanded(str(overrides.get("out")))
    of_file = next((name for name, ending in _ENDINGS.items() if out.suffix == ending), None)
    if of_file is None or out.is_dir():
        return formats, out_folder(overrides)
    if asked not in (None, of_file):
        hint = f"name it {out.with_suffix(_ENDINGS[asked])}, or leave out format"
        raise UserError(f"the file's name says {of_file}, the format {asked}", where=f"out={out}", hint=hint)
    return [of_file], out


def _file(name: str, out: Path) -> Path:
    """Where a format is written. Raises UserError for the page that a run has of its own."""
    path = out if out.suffix == _ENDINGS[name] else out / f"report{_ENDINGS[name]}"
    if path.name == "report.html" and (path.parent / "run.json").is_file():
        hint = "name another folder, or a file of another name"
        raise UserError("a run has its own page there, which would be lost", where=f"out={out}", hint=hint)
    return path


def _evaluations(path: Path) -> list[Path]:
    """The run that a path names, or all below a folder that is none itself, such as that of a demo."""
    if not path.is_dir() or all((path / name).is_file() for name in ("results.json", "scores.csv")):
        return [path]
    found = sorted(file.parent for file in path.rglob("results.json"))
    above = {folder for run in found for folder in run.parents if not (folder / "scores.csv").is_file()}
    return [run for run in found if run not in above] or [path]


def _runs(paths: Sequence[Path]) -> list[FinishedRun]:
    from adbench.report.results import read_results
    from adbench.report.seeds import FinishedRun

    contents = [read_results(path) for path in paths]
    methods = ["+".join(dict.fromkeys(str(row["method"]) for row in rows)) for _, rows in contents]
    return [
        FinishedRun(label, rows, path if path.is_dir() else path.parent, provenance)
        for label, path, (provenance, rows) in zip(run_labels(methods, paths), paths, contents, strict=True)
    ]


def _text(name: str, runs: Sequence[FinishedRun], beside: Beside) -> str:
    """The report in a format."""
    from adbench.report import renderings, side_by_side
    from adbench.report.comparison_csv import to_csv

    if name == "html":
        return side_by_side.page(runs, beside)
    if name == "csv":
        return to_csv(beside.runs, beside.comparison, beside.gains)
    tables = side_by_side.tables(beside)
    return renderings.to_markdown(tables) if name == "markdown" else renderings.to_latex(tables)
