"""Extension of griffe for the API pages: fields in docstrings, aligned for a reader of the source, become lists.

    out        the folder; None: a new one below outputs/train. A stopped training in it
               goes on
    support_k  normal images given with every query

becomes ``- `out`: the folder; ...`` and ``- `support_k`: normal images ...``.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_FIELD = re.compile(r"^(?P<names>\*{0,2}\w+(?:, \w+)*) {2,}(?P<text>\S.*)$")


def as_list(text: str) -> str:
    """The docstring with its aligned lists of fields as Markdown lists."""
    written: list[str] = []
    column: int | None = None  # where the texts of the present list begin
    for line in text.splitlines():
        if field := _FIELD.match(line):
            if column is None:
                written.append("")
            column = field.start("text")
            names = ", ".join(f"`{name}`" for name in field["names"].split(", "))
            written.append(f"- {names}: {field['text']}")
        elif column is not None and line.startswith(" " * column):
            written.append(f"  {line.strip()}")
        else:
            written += ["", line] if column is not None else [line]
            column = None
    return "\n".join(written).replace("  # doctest: +SKIP", "")


class DocstringFields(griffe.Extension):
    """Rewrites every docstring that is shown."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for each object that it has read."""
        if obj.docstring is not None:
            obj.docstring.value = as_list(obj.docstring.value)
