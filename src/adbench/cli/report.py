"""`adbench report`: results of finished runs beside each other and beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.cli.console import print_table
from adbench.cli.runs import out_folder, run_labels, split_runs
from adbench.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from adbench.report.comparison import Comparison, Run

SUMMARY = "compare runs with each other and with published figures"

HELP = """\
usage  python -m adbench report RUN [RUN ...] [out=DIR]

Prints the results of evaluations (their folders, or results.json files; latest: the newest one) beside what is
published of the same method on the same data set in the same setting (shots, data trained on), and the difference in
points. Where the figures come from stands below the table: the papers' own tables, their authors' logs, leaderboards,
others who quote them or have run the method again. Where sources disagree, each has its line and "all sources" says
from where to where they go; the difference is to the most reliable of them. Results with another backbone than theirs,
such as clip=demo, are marked and have no difference: it would say nothing about a method.

  out=DIR                   also write report.md and report.csv there

examples
  python -m adbench report latest
  python -m adbench report outputs/eval/adaclip/visa/A outputs/eval/anomalyclip/visa/B out=comparison
"""


def run(argv: Sequence[str]) -> int:
    """Run `adbench report` with these words."""
    from adbench.atomic import write_text
    from adbench.report.comparison import compare, to_csv, to_markdown

    folders, overrides = split_runs("report", argv, "out")
    if not folders:
        raise UserError(
            "report needs a run", hint="name folders of evaluations: python -m adbench report RUN, or latest"
        )
    out = out_folder(overrides)
    comparison = compare(_runs(folders))
    print_table(_table(comparison))
    for note in comparison.notes:
        print(note)
    if out is not None:
        for name, text in (("report.md", to_markdown(comparison)), ("report.csv", to_csv(comparison))):
            write_text(out / name, text)
            print(out / name)
    return 0


def _runs(folders: Sequence[Path]) -> list[Run]:
    from adbench.report.comparison import Run
    from adbench.report.results import read_results

    rows = [read_results(folder)[1] for folder in folders]
    methods = ["+".join(dict.fromkeys(str(row["method"]) for row in of_run)) for of_run in rows]
    return [Run(label, of_run) for label, of_run in zip(run_labels(methods, folders), rows, strict=True)]


def _table(comparison: Comparison) -> Table:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    from adbench.metrics.registry import title
    from adbench.report.comparison import printed

    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in ("data", "class", "shots", ""):
        table.add_column(header, justify="left")
    for metric in comparison.metrics:
        table.add_column(Text(title(metric).replace(" ", "\n", 1)), justify="right")
    styles = {"ours": "", "published": "dim", "range": "dim italic", "difference": "bold"}
    for line, cells in zip(comparison.lines, printed(comparison), strict=True):
        table.add_row(*map(Text, cells), style=styles[line.kind])
    return table
