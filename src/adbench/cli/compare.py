"""`adbench compare`: two runs on the same images, and how sure the difference between them is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from adbench.cli.console import print_lines
from adbench.cli.runs import out_folder, split_runs
from adbench.errors import UserError, printable
from adbench.typed import NonNegativeInt

SUMMARY = "compare two runs image by image: differences with intervals"

HELP = """\
usage  python -m adbench compare A B [metric=image_auroc] [out=DIR] [missing=error|skip] [seed=N]

Compares two evaluations of the same images (their folders, or scores.csv files; latest: the newest one): per class and
for the mean, what B gains over A, with a 95 % interval and the probability p of such a difference if there were none,
by a paired bootstrap over the images; and the images that one run alone puts on the right side of its own F1-max
threshold. Images are matched by data set, class, path, shots and support seed; their order in the files never matters.

  metric=image_auroc        or image_ap, image_f1max
  out=DIR                   also write comparison.json, .csv and .md there
  missing=error             images that only one run has are an error; skip: they are left out, with a note
  seed=111                  of the draws

p values are not corrected for their number: with 15 classes one in 20 is below 0.05 by chance. The column p (Holm) is
corrected over the classes. They speak of the test images' chance alone, not of training, seeds or support sets.

examples
  python -m adbench compare outputs/eval/winclip/mvtec/A outputs/eval/inctrl/mvtec/B
  python -m adbench compare A latest metric=image_ap out=comparison
"""

_SHOWN = 20  # changed images that the terminal lists


def run(argv: Sequence[str]) -> int:
    """Run `adbench compare` with these words."""
    from adbench.report.paired import compare_scores
    from adbench.report.paired_table import NAMES, changed, explanation, headers, printed, write_comparison
    from adbench.report.scores import read_scores

    runs, overrides = split_runs("compare", argv, "metric", "out", "missing", "seed")
    if len(runs) != 2:
        raise UserError(f"compare takes two runs, and {len(runs)} are named", hint="run python -m adbench compare A B")
    out, missing = out_folder(overrides), overrides.read("missing", Literal["error", "skip"], "error")
    first, second = map(read_scores, runs)
    comparison = compare_scores(
        first,
        second,
        metric=str(overrides.get("metric", "image_auroc")),
        seed=overrides.read("seed", NonNegativeInt, 111),
        leave_out=missing == "skip",
    )
    described, facts = zip(*map(_described, runs), strict=True)
    comparison.notes.extend(_remarks(facts))
    for name, line in zip(NAMES, described, strict=True):
        print(f"{name}  {line}")
    styles = ["bold" if line.class_name == "mean" else "" for line in comparison.lines]
    print_lines(headers(comparison), printed(comparison), left=("data", "class"), styles=styles, ruled=True)
    for note in [*explanation(comparison), *comparison.notes]:
        print(printable(note))
    for change in comparison.changes[:_SHOWN]:
        print(f"  {printable(changed(change))}")
    if len(comparison.changes) > _SHOWN:
        print(f"  and {len(comparison.changes) - _SHOWN} more images that changed sides (out=DIR writes all of them)")
    if out is not None:
        for file in write_comparison(out, comparison, described):
            print(file)
    return 0


def _described(run: Path) -> tuple[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """A run in one line; its provenance and rows, where it has results.json."""
    from adbench.report.results import read_results

    folder = run if run.is_dir() else run.parent
    if not (folder / "results.json").is_file():
        return str(run), ({}, [])
    facts, rows = read_results(folder)
    methods = "+".join(dict.fromkeys(str(row["method"]) for row in rows))
    weights = ", ".join(dict.fromkeys(str(row["weights"])[:12] for row in rows if row.get("weights")))
    return f"{methods} ({run}{f', weights {weights}' if weights else ''})", (facts, rows)


def _remarks(runs: Sequence[tuple[dict[str, Any], list[dict[str, Any]]]]) -> Iterator[str]:
    """What must be said of the runs: other data behind the same names, notes of their rows."""
    first, second = (
        {data["name"]: (data["classes"], data["fingerprint"]) for data in facts.get("data", ())} for facts, _ in runs
    )
    for name in first:
        if name in second and first[name][0] == second[name][0] and first[name][1] != second[name][1]:
            yield f"{name}: the two runs saw other files or labels (their fingerprints differ)"
    for letter, (_, rows) in zip("AB", runs, strict=True):
        noted = [(row["dataset"], note) for row in rows if row["class_name"] == "mean" for note in row.get("notes", ())]
        yield from (f"{letter} on {dataset}: {note}" for dataset, note in dict.fromkeys(noted))
