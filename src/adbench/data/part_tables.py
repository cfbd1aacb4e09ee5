"""The tables of Real-IAD and Real-IAD Variety: a JSON file per class that lists the views of its parts.

<tables>/<class>.json: {"meta": {...}, "train": [record, ...], "test": [record, ...]}
record = {"image_path", "mask_path" or null, "anomaly_class"}, paths relative to the class's folder of pictures
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adbench.data.sample import Sample
from adbench.data.tree import listing
from adbench.errors import UserError, unknown

Record = dict[str, Any]


def tables_folder(root: Path, table: str, default: str) -> Path:
    """The folder called `table` that holds tables: below the folder `default`, or beside it."""
    tables = next((root / place for place in (f"{default}/{table}", table) if any((root / place).glob("*.json"))), None)
    if tables is None:
        known = [folder.name for folder in sorted(root.glob(f"{default}*/")) + sorted(root.glob(f"{default}/*/"))]
        raise unknown("folder of tables", table, known, where=f"data.table, looked for in {root}")
    return tables


def pictures_folder(root: Path, asked: str | None, known: Sequence[str]) -> str:
    """The folder of images: the one that was asked for, or the only one there is."""
    folders = [name for name in listing(root).folders if name in known]
    if asked is not None:
        if asked not in listing(root).folders:
            raise unknown("folder of images", asked, folders, where=f"data.pictures, looked for in {root}")
        return asked
    if len(folders) != 1:
        what = f"several resolutions are there: {', '.join(folders)}" if folders else "the folder of images is missing"
        hint = "say which by data.pictures=NAME" if folders else f"unpack one of {', '.join(known)}"
        raise UserError(what, where=str(root), hint=hint)
    return folders[0]


def read_table(table: Path, sample_of: Callable[[str, Record, Record], Sample]) -> list[Sample]:
    """`sample_of(split, record, meta)` for every record. Raises UserError for a damaged table."""
    try:
        content = json.loads(table.read_text(encoding="utf-8-sig"))
        meta = content.get("meta", {})
        return [sample_of(split, record, meta) for split in ("train", "test") for record in content[split]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "take the file of the archive"
        raise UserError(f"the table cannot be read: {error!r}", where=str(table), hint=hint) from error


def view(
    root: Path, place: str, record: Record, *, anomalous: bool, class_name: str, split: str, dataset: str
) -> Sample:
    """The sample of a record; `place`: the class's folder of pictures, relative to the root."""
    mask = record.get("mask_path")
    key, files = f"{place.rstrip('/')}/{record['image_path']}", [root / place / mask] if mask else []
    defect = record["anomaly_class"] if anomalous else None
    return Sample.below(root, key, dataset=dataset, class_name=class_name, split=split, defect=defect, masks=files)
