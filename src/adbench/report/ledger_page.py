"""The ledger as HTML: one self-contained page, of a reproduction or of a folder of collected runs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from adbench.engine.rows import MEAN
from adbench.report.html_style import STYLE
from adbench.report.ledger import HEADS, RUN_HEADS, LedgerLine, counts, hash_lines, sources

_STYLE = """
td.reproduced { color: var(--strong); font-weight: 700; } td.off { color: var(--mark); font-weight: 700; }
td.text, th.text { max-width: 30rem; overflow-wrap: anywhere; }
"""
_TEXTS = ("data", "class", "kind", "verdict", "run", "weights", "backbone", "data fingerprint", "results", "adbench")
Section = tuple[str, str]
"""A heading and the HTML below it."""


def ledger_page(heading: str, lines: Sequence[LedgerLine], remarks: Sequence[str] = ()) -> str:
    """A page with the figures, means first, classes folded, then where figures come from, and hashes."""
    return page(heading, [(counts(lines), _paragraphs(remarks)), *figure_sections(lines)])


def figure_sections(lines: Sequence[LedgerLine]) -> list[Section]:
    """The figures beside ours, their sources, and the hashes of what ours were made with."""
    means = [line for line in lines if line.figure.class_name == MEAN]
    classes = [line for line in lines if line.figure.class_name != MEAN]
    found = [("Means over classes", _figures(means))] if means else []
    if classes:
        folded = f"<details><summary>{escape(counts(classes))}</summary>{_figures(classes)}</details>"
        found.append(("Single classes", folded))
    found.append(("Where the figures were read", _paragraphs(sources(lines))))
    if hashes := hash_lines(lines):
        found.append(("Weights and data", table(RUN_HEADS, hashes)))
    return found


def page(heading: str, sections: Sequence[Section]) -> str:
    """A whole page of sections."""
    body = "".join(f"<h2>{escape(title)}</h2>{content}" for title, content in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(heading)}</title><style>{STYLE}{_STYLE}</style></head><body>"
        f"<h1>{escape(heading)}</h1>{body}</body></html>\n"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], states: Sequence[str] = ()) -> str:
    """A table of texts; `states`: the class of the last cell of each row."""
    head = "".join(f"<th{_text(name)}>{escape(name)}</th>" for name in heads)
    body = []
    for number, cells in enumerate(rows):
        *others, last = [f"<td{_text(name)}>{escape(cell)}</td>" for name, cell in zip(heads, cells, strict=True)]
        if states:
            last = f'<td class="text {states[number].replace(" ", "-")}">{escape(cells[-1])}</td>'
        body.append(f"<tr>{''.join(others)}{last}</tr>")
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"


def _figures(lines: Sequence[LedgerLine]) -> str:
    return table(HEADS, [line.cells for line in lines], [line.verdict.state for line in lines])


def _text(name: str) -> str:
    return " class=text" if name in _TEXTS else ""


def _paragraphs(texts: Sequence[str]) -> str:
    return "".join(f"<p class=faint>{escape(text)}</p>" for text in texts)
