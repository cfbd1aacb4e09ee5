"""Tables of a report as Markdown and as LaTeX (booktabs): bold what is best, underlined what is second."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from adbench.report.page import Cell, Table
from adbench.report.results import escaped, markdown_line

_LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "−": "$-$", "–": "--", "~": r"\textasciitilde{}", "^": r"\^{}"}
_LATEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


def to_markdown(tables: Sequence[Table]) -> str:
    """All tables with their headings and notes."""
    parts = []
    for table in tables:
        lines = [f"### {escaped(table.heading)}", ""] if table.heading else []
        lines.append(markdown_line([escaped(cell.text) for cell in table.head]))
        lines.append(markdown_line([":--" if "text" in cell.css else "--:" for cell in table.head]))
        for _, cells in table.rows:
            lines.append(markdown_line([_marked(cell, "**{}**", "<u>{}</u>", escaped) for cell in cells]))
        lines += ["", *(f"- {escaped(note)}" for note in table.notes)] if table.notes else []
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def to_latex(tables: Sequence[Table]) -> str:
    """All tables as floats for \\usepackage{booktabs}; notes as comments."""
    parts = ["% \\usepackage{booktabs}\n"]
    for table in tables:
        columns = "".join("l" if "text" in cell.css else "r" for cell in table.head)
        body: list[str] = []
        for style, cells in table.rows:
            body += ["\\midrule"] * (style in ("mean", "first") and bool(body))
            body.append(" & ".join(_marked(c, r"\textbf{{{}}}", r"\underline{{{}}}", _tex) for c in cells) + r" \\")
        lines = [
            "\\begin{table}",
            "\\centering",
            *([f"\\caption{{{_tex(table.heading)}}}"] if table.heading else []),
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            " & ".join(_tex(cell.text) for cell in table.head) + r" \\",
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
            *(f"% {note}" for note in table.notes),
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _marked(cell: Cell, best: str, second: str, escape: Callable[[str], str]) -> str:
    text, marks = escape(cell.text), cell.css.split()
    if text and ("best" in marks or "sure" in marks):
        return best.format(text)
    return second.format(text) if text and "second" in marks else text


def _tex(text: str) -> str:
    shown = re.sub(r"[\\±−–~^&%$#_{}]", lambda match: _LATEX[match[0]], text)
    return f"{{}}{shown}" if shown.startswith("[") else shown
