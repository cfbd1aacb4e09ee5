"""Kaputt: parcels and what is in them, in the trays of a warehouse, labelled as a whole."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from adbench.data.catalogue import register
from adbench.data.sample import Sample
from adbench.data.survey import Entry, Note
from adbench.data.tree import select
from adbench.errors import UserError

_MATERIALS = (
    "book_other",
    "book_paper",
    "book_plastic_tight_wrap",
    "cardboard",
    "other",
    "paper",
    "plastic_bubble_wrap",
    "plastic_hard",
    "plastic_loose_bag",
    "plastic_tight_wrap",
)
_SPLITS = ("train", "validation", "test")


@register(
    "kaputt",
    title="Kaputt: visual defects in logistics",
    domain="industrial",
    task="classification",
    classes=_MATERIALS,
    licence="CC BY-NC-ND 4.0 (non-commercial, no derived copies); given on request",
    source="https://www.kaputt-dataset.com/",
    citation="S. Höfer, D. Henning, A. Amiranashvili, D. Morrison, M. Tzes, I. Posner, M. Matvienko, A. Rennola, "
    "A. Milan: Kaputt: A Large-Scale Dataset for Visual Defect Detection. ICCV 2025",
    how_to_get="Fill in the form on the source page and unpack the archives to data/kaputt; reading its tables takes "
    "pip install 'adbench-clip[kaputt]'",
    folders=("Kaputt", "kaputt-release"),
    marks=("query-*.parquet", "datasets/query-*.parquet"),
    layout="""\
[datasets/]query-{train,validation,test}.parquet
<path in the table>/NAME.jpg, or query-{crop,image}/<path in the table>/NAME.jpg""",
    quirks=(
        "Classes are the materials of the items. Over 230,000 images of over 48,000 items; numbers per class are not "
        "checked.",
        "The masks outline the item, not the defect (the set's own description): they are not read, and only image "
        "metrics are defined.",
        "data.pictures=crop, the default, reads the item cut out of its tray; image the whole tray.",
        "Training images hold defects too; support sets are drawn from the others. The few-shot setting of the paper, "
        "each item's own one to three reference images, is not built: support here is per class.",
        "Any defect counts: image AP is the AP_any of papers. With data.severity=major, images of minor defects are "
        "left out, of training too: image AP is their AP_major then, and rows say so. Recall at 50 % precision and 1 % "
        "FPR: eval.metrics=image_recall_at_precision@0.5,image_recall_at_fpr@0.01.",
        "Published figures are of all items together; here they are means over the materials, as for other sets.",
        "Of images without a label (Kaputt 2's test) scores are given and no figures.",
    ),
)
def index(
    root: Path,
    classes: Sequence[str] | None,
    *,
    pictures: Literal["crop", "image"] = "crop",
    severity: Literal["any", "major"] = "any",
) -> Iterator[Entry]:
    """Index the query images by their tables."""
    place = root / "datasets" if (root / "datasets").is_dir() else root
    tables = {split: place / f"query-{split}.parquet" for split in _SPLITS}
    wanted = set(select(_MATERIALS, classes, where=root))
    for split, table in tables.items():
        if table.is_file():
            yield from _split(root, table, split, pictures, wanted, severity)
    if severity == "major":
        yield Note("images of minor defects are left out", in_rows=True)


def _split(root: Path, table: Path, split: str, pictures: str, wanted: set[str], severity: str) -> Iterator[Sample]:
    column, prefix = f"query_{pictures}", ""
    needed = ("item_material", column, *(("major_defect",) if severity == "major" else ()))
    for number, record in enumerate(_records(table, needed)):
        material, key, defect = record["item_material"], str(record[column]), record.get("defect")
        if number == 0 and not (root / key).is_file():
            prefix = f"query-{pictures}/"  # as the archives of single kinds of pictures are unpacked
        if material not in _MATERIALS:
            what = f"an item is of {material!r}"
            raise UserError(what, where=f"{table}, row {number}", hint=f"known materials: {', '.join(_MATERIALS)}")
        minor = severity == "major" and defect and not record["major_defect"]
        if material in wanted and not minor:
            label = -1 if defect is None else int(bool(defect))
            yield Sample(
                path=root / f"{prefix}{key}",
                key=f"{prefix}{key}",
                class_name=material,
                label=label,
                mask_path=None,
                split=split,
                defect={0: "good", -1: "unknown"}.get(label, record.get("defect_types") or "defect"),
                dataset="kaputt",
            )


def _records(table: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a table, which has these columns at least.

    Raises UserError where it has not, where it is damaged, and where nothing is installed to read it.
    """
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        hint = "run pip install 'adbench-clip[kaputt]'"
        raise UserError("reading parquet takes pyarrow, which is not installed", where=str(table), hint=hint) from error
    try:
        rows: list[dict[str, Any]] = parquet.read_table(table).to_pylist()
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are these
        reason = str(error).splitlines()[0]
        raise UserError(f"the table cannot be read: {reason}", where=str(table), hint="unpack it again") from error
    if rows and set(columns) - rows[0].keys():
        lacking = ", ".join(sorted(set(columns) - rows[0].keys()))
        raise UserError(f"the table lacks {lacking}", where=str(table), hint="take the file of the archive")
    return rows
