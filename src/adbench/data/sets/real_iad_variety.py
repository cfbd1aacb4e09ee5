"""Real-IAD Variety: 160 industrial objects, each seen by five cameras."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from adbench.data.catalogue import register
from adbench.data.mvtec_layout import class_place
from adbench.data.part_tables import Record, pictures_folder, read_table, tables_folder, view
from adbench.data.sample import Sample
from adbench.data.survey import Entry, Note, guarded
from adbench.data.tree import listing, named, select

_TABLES = "realiadvariety_jsons"
_INNER = "Real-IAD_Variety_jsons"
_PICTURES = ("realiadvariety_1024", "realiadvariety_raw")
_NORMAL = "OK"


def _part(key: str) -> str:
    """The part that a view shows: its name up to the camera's tag, C1 to C5 or C01 to C05."""
    return re.sub(r"_C0?\d_[^/]*$", "", key)


@register(
    "real_iad_variety",
    title="Real-IAD Variety",
    domain="industrial",
    task="classification and localisation",
    classes=(),
    unit_of=_part,
    licence="given on request, for non-commercial use; its text was not seen",
    source="https://huggingface.co/datasets/Real-IAD/Real-IAD_Variety",
    citation="W. Zhu, C. Wang, B.-B. Gao et al.: Real-IAD Variety: Pushing Industrial Anomaly Detection Dataset to a "
    "Modern Era. arXiv:2511.00540, 2025",
    how_to_get="Ask for access (source page) and unpack one resolution and realiadvariety_jsons to "
    "data/real_iad_variety",
    folders=("Real-IAD_Variety", "Real-IAD-Variety", "realiadvariety"),
    marks=("realiadvariety_jsons*",),
    layout="""\
realiadvariety_jsons/[Real-IAD_Variety_jsons/]<class>.json
realiadvariety_{1024,raw}/[<class>/]<class>/{OK,NG}/.../NAME""",
    quirks=(
        "160 classes, as their tables are called; those that have a table and a folder are used. Copies write - or _ "
        "in names of folders: they are compared without.",
        "A view of a defective part on which nothing shows has a kind of defect and no mask. It counts as normal, as "
        "Dinomaly2 and AnomalyVFM have it; data.label=kind calls it anomalous, and then it has to be left out for its "
        "missing mask (data.broken=skip). Rows say how many there are.",
        "One source counts 19,955 training views, all normal, and 178,995 test views; numbers are not checked.",
        "Intervals draw the views of a part together. Figures per part, whose score is the maximum over its views: "
        "eval.metrics=object_auroc,object_ap,object_f1max.",
        "Kinds of defects may differ in case alone (porosity, Porosity).",
    ),
)
def index(
    root: Path, classes: Sequence[str] | None, *, label: Literal["mask", "kind"] = "mask", pictures: str | None = None
) -> Iterator[Entry]:
    """Index by the tables of each class."""
    inner = root / _TABLES / _INNER
    tables = tables_folder(root, _INNER if inner.is_dir() else _TABLES, _TABLES)
    folder = pictures_folder(root, pictures, _PICTURES)
    folders = listing(root / folder).folders
    known = {table.stem: named(folders, table.stem, where=root / folder) for table in sorted(tables.glob("*.json"))}
    hidden: list[str] = []
    for name in select([name for name, place in known.items() if place is not None], classes, where=root):
        yield from guarded(name, _class(root, f"{folder}/{known[name]}", tables / f"{name}.json", name, label, hidden))
    if hidden:
        counted = "normal" if label == "mask" else "anomalous"
        yield Note(f"{len(hidden)} views of defective parts have no mask and count as {counted}", in_rows=True)


def _class(root: Path, folder: str, table: Path, name: str, label: str, hidden: list[str]) -> Iterator[Sample]:
    """The views of a class; those of defective parts without a mask are added to `hidden`."""
    place = class_place(root, folder, {_NORMAL: "", "NG": ""})

    def sample_of(split: str, record: Record, _meta: Record) -> Sample:
        defective, masked = record["anomaly_class"] != _NORMAL, bool(record.get("mask_path"))
        if defective and not masked:
            hidden.append(record["image_path"])
        anomalous = masked if label == "mask" else defective
        return view(root, place, record, anomalous=anomalous, class_name=name, split=split, dataset="real_iad_variety")

    yield from read_table(table, sample_of)
