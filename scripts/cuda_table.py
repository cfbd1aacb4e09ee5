"""Write what `bench` measured into docs/performance.md, between its markers, beside published times.

python scripts/cuda_table.py docs/performance.md BENCH.json [BENCH.json ...]

Published times are of batches of 1 on a GPU that their table does not name; the target is a fifth of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from adbench.atomic import write_text
from adbench.bench.table import HEADERS, LEGEND, lines

BEGIN, END = "<!-- cuda_check: begin -->", "<!-- cuda_check: end -->"
PUBLISHED_MS = {"adaclip": 212, "anomalyclip": 155, "inctrl": 337, "winclip": 201}
AT = HEADERS.index("x tower") + 1
COLUMNS = (*HEADERS[:AT], "published ms", "of it", *HEADERS[AT:])
BESIDE = """\
published ms: a batch of 1 on a GPU that its table does not name; of it: what ms/image is of that. The target is 1/5.
eval/s is of 16 pictures (scenes: 4), the start of loader processes included: it is more where there are more."""


def section(files: list[Path]) -> str:
    """The table of all rows, under the machine, the date and the command."""
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    facts = runs[0]["run"]
    head = f"`scripts/cuda_check.sh`, {facts['date']}, {facts['device']}, PyTorch {facts['torch']}, random weights."
    rows = [row for run in runs for row in run["rows"]]
    rows.sort(key=lambda row: (row["method"], row["batch_size"]))  # precisions as they were measured
    table = [COLUMNS, ["---"] * len(COLUMNS), *map(cells, rows)]
    return "\n".join([head, "", *(f"| {' | '.join(line)} |" for line in table), "", LEGEND, BESIDE])


def cells(row: dict) -> list[str]:
    """What a row of bench.json says, as text, with the published time beside it."""
    published = PUBLISHED_MS.get(row["method"]) if row["batch_size"] == 1 else None
    beside = ["", ""] if published is None else [str(published), f"1/{published / row['milliseconds']:.3g}"]
    (measured,) = lines([row])
    return [*measured[:AT], *beside, *measured[AT:]]


def main() -> None:
    """Replace what stands between the markers; a page without them gets them at its end."""
    page, *files = map(Path, sys.argv[1:])
    text = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n## On a GPU\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    write_text(page, f"{before}{BEGIN}\n\n{section(files)}\n\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
