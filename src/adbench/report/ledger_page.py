"""The ledger as HTML: one self-contained page, of a reproduction or of a folder of collected runs."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.engine.rows import MEAN
from adbench.report.ledger import HEADS, RUN_HEADS, LedgerLine, counts, hash_lines, sources
from adbench.report.page import Cell, Section, Table, Text, render

_NUMBERS = ("shots", "metric", "published", "ours", "difference")
_CSS = {"reproduced": "best", "off": "note", "not comparable": "faint"}


def ledger_page(heading: str, lines: Sequence[LedgerLine], remarks: Sequence[str] = ()) -> str:
    """A page with the figures, means before classes, then where they were read, and hashes."""
    return render(heading, "; ".join([counts(lines), *remarks]), figure_sections(lines))


def figure_sections(lines: Sequence[LedgerLine]) -> list[Section]:
    """The figures beside ours, their sources, and the hashes of what ours were made with."""
    means = [line for line in lines if line.figure.class_name == MEAN]
    classes = [line for line in lines if line.figure.class_name != MEAN]
    hashes = hash_lines(lines)
    return [
        Section("Means over classes", [_figures(means)] if means else []),
        Section("Single classes", [_figures(classes)] if classes else []),
        Section("Where the figures were read", [Text(source) for source in sources(lines)]),
        Section("Weights and data", [text_table(RUN_HEADS, hashes)] if hashes else []),
    ]


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]], states: Sequence[str] = ()) -> Table:
    """A table of texts; `states`: verdicts, in whose colours the last cells are."""
    css = ["" if head in _NUMBERS else "text" for head in heads]
    body = []
    for number, cells in enumerate(rows):
        line = [Cell(text, kind) for text, kind in zip(cells, css, strict=True)]
        if states:
            line[-1] = Cell(cells[-1], f"text {_CSS[states[number]]}")
        body.append(("", line))
    return Table([Cell(head, kind) for head, kind in zip(heads, css, strict=True)], body)


def _figures(lines: Sequence[LedgerLine]) -> Table:
    return text_table(HEADS, [line.cells for line in lines], [line.verdict.state for line in lines])
