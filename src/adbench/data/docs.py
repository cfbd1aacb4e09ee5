"""Writes datasets.md from the catalogue: `python -m adbench.data.docs > datasets.md`."""

from __future__ import annotations

import sys
from typing import Any

from adbench.data import catalogue
from adbench.data.catalogue import DatasetSpec
from adbench.data.counts import PARTS, parts_of
from adbench.data.survey import BROKEN

_HEADER = """\
# Data sets

<!-- Written by `python -m adbench.data.docs > datasets.md` from the facts beside each loader: edit those, not this
file. -->

One set lies in `data_dir/<name>` (`data_dir=DIR`, `./data` by default, or the environment variable `ADBENCH_DATA`), or
anywhere else with `data.root=DIR`. Sets are read in the layout in which their authors publish them: nothing is
converted or copied. A folder with a `meta.json` of AdaCLIP or AnomalyCLIP instead of that layout works too.
`data.classes='[a,b]'` takes a part of the classes.

Zero-shot methods train on the *test* split of one set, masks included, and are tested on the test split of another, as
their papers do. Few-shot methods draw their normal images from the train split.

`python -m adbench data list` says which sets are found; `python -m adbench data check NAME` compares a copy with what
is written here and finds missing, broken and repeated files; `python -m adbench data show NAME` draws some of it.

A set may lie in a folder of its own below, as archives are unpacked. Class names enter the prompts as they are written
here. Numbers of images are given where they are known for certain; an empty field in the table means that they are not.

Common to all sets: files are sorted by path, hidden files and files that are not images are left alone; images of 16
bits are reduced to 8 by dropping the low byte; EXIF orientation is not applied; a mask value above 0 is a defect, in
any channel, or the transparency where the colour is the same everywhere; an anomalous image without a mask in a class
with masks is an error. `folder` and `meta` have options for these. Refused are files of several pages, photographs as
masks, and what is no image (Git LFS pointers, web pages). Masks of anomalous images that mark nothing or the whole
picture are counted in the notes of the result rows and by `data check`.

What is missing, broken, contradictory or not certain in a copy is an error that names the first file and the number of
such files. `data.broken` is an option of every set (error): skip leaves out what has faults, and the results say so;
`data.classes` does without classes too. Names of folders are compared without case, blanks, `_` and `-`; masks are
paired with images by name, never by order (see `folder`); Unicode is compared in its composed form. A class without
anomalous images is not evaluated, but serves as support.

Road sets have label maps instead of masks, read as they are stored: palette indices, or the first of several channels;
an id that the set does not know is an error that names the file. Labels are never resized. In evaluation they say 0
(normal), 1 (anomalous) or 255 (unknown, left out); pixels are pooled over the set. Methods that learn segmentation
train on Cityscapes or on `road_demo`, the other road sets are for evaluation only.
"""


def render() -> str:
    """Return the text of datasets.md."""
    specs = [catalogue.get(name) for name in catalogue.names()]
    table = ["| name | what | domain | classes | images | task | licence |", "|---|---|---|---|---|---|---|"]
    table += [
        f"| [`{spec.name}`](#{spec.name}) | {spec.title} | {spec.domain} | {len(spec.classes) or 'as found'} "
        f"| {spec.n_published or ''} | {spec.task} | {spec.licence} |"
        for spec in specs
    ]
    return "\n".join([_HEADER, *table, "", *map(_section, specs)])


def _section(spec: DatasetSpec) -> str:
    lines = [f"## {spec.name}", "", f"{spec.title}. Domain: {spec.domain}. Task: {spec.task}.", ""]
    lines += [f"- **Get it**: {spec.how_to_get}", f"- **Source**: {spec.source}", f"- **Licence**: {spec.licence}"]
    lines.append(f"- **Cite**: {spec.citation}")
    if spec.classes:
        lines.append(f"- **Classes**: {', '.join(spec.classes)}")
    names = [f"`{name}`" for name in spec.folders]
    if names:
        lines.append(f"- **Found as**: `{spec.name}`, {', '.join(names)} in the data folder")
    if options := [option for option in spec.options if option != BROKEN]:
        lines.append(f"- **Options**: {', '.join(f'`data.{option}`' for option in options)}")
    lines += ["", "```", spec.layout, "```", ""]
    lines += [f"- {quirk}" for quirk in spec.quirks]
    lines += ["", *_counts(spec)]
    return "\n".join(lines)


def _counts(spec: DatasetSpec) -> list[str]:
    if not spec.expected:
        return []
    columns = parts_of(spec.expected.values())
    rows: list[tuple[Any, ...]] = [
        (name, *(getattr(count, key) for key in columns)) for name, count in spec.expected.items()
    ]
    if len(rows) > 1:
        rows.append(("all of these", *(sum(row[i + 1] for row in rows) for i in range(len(columns)))))
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [f"| class | {' | '.join(PARTS[key] for key in columns)} |", "|---" * (1 + len(columns)) + "|", *lines, ""]


if __name__ == "__main__":
    sys.stdout.write(render())
