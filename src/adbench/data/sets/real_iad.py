"""Real-IAD: 30 industrial objects, each seen by five cameras."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from adbench.data.catalogue import register
from adbench.data.sample import Sample
from adbench.data.survey import Entry, Fault
from adbench.data.tree import listing, select
from adbench.errors import UserError, unknown

_CLASSES = (
    "audiojack",
    "bottle_cap",
    "button_battery",
    "end_cap",
    "eraser",
    "fire_hood",
    "mint",
    "mounts",
    "pcb",
    "phone_battery",
    "plastic_nut",
    "plastic_plug",
    "porcelain_doll",
    "regulator",
    "rolled_strip_base",
    "sim_card_set",
    "switch",
    "tape",
    "terminalblock",
    "toothbrush",
    "toy",
    "toy_brick",
    "transistor1",
    "u_block",
    "usb",
    "usb_adaptor",
    "vcpill",
    "wooden_beads",
    "woodstick",
    "zipper",
)
_TABLES = "realiad_jsons"
_PICTURES = ("realiad_1024", "realiad_512", "realiad_256", "realiad_raw")


@register(
    "real_iad",
    title="Real-IAD",
    domain="industrial",
    task="classification and localisation",
    classes=_CLASSES,
    licence="CC BY-NC-SA 4.0 (non-commercial); given on request",
    source="https://realiad4ad.github.io/Real-IAD/",
    citation="C. Wang, W. Zhu, B.-B. Gao, Z. Gan, J. Zhang, Z. Gu, S. Qian, M. Chen, L. Ma: Real-IAD: A Real-World "
    "Multi-View Dataset for Benchmarking Versatile Industrial Anomaly Detection. CVPR 2024",
    how_to_get="Ask for access (source page) and unpack one resolution and realiad_jsons to data/real_iad",
    folders=("Real-IAD", "realiad"),
    marks=("realiad_jsons*",),
    unit_of=posixpath.dirname,  # a folder holds the five views of a part
    layout="""\
realiad_jsons/[realiad_jsons/]<class>.json      also realiad_jsons_sv and realiad_jsons_fuiad_*
realiad_{1024,512,256}/<class>/OK/SNNNN/NAME.jpg
realiad_{1024,512,256}/<class>/NG/<kind>/SNNNN/NAME.{jpg,png}""",
    quirks=(
        "The tables give split, kind and mask of every image; only what they list is read. "
        "data.table=realiad_jsons_sv (one view), realiad_jsons_fuiad_0.1, ... takes others of the archive's tables.",
        "One resolution is used: where several are there, data.pictures=realiad_512 says which.",
        "An image of a defective part from a side on which the defect does not show is normal (OK), as the tables have "
        "it.",
        "151,050 images in all, 99,721 of them normal. The numbers per class are not known here, so they are not "
        "checked.",
        "Classes of which no table or no folder is there are left out.",
    ),
)
def index(
    root: Path, classes: Sequence[str] | None, *, table: str = _TABLES, pictures: str | None = None
) -> Iterator[Entry]:
    """Index by the tables of each class."""
    tables = next((root / place for place in (f"{_TABLES}/{table}", table) if any((root / place).glob("*.json"))), None)
    if tables is None:
        known = [folder.name for folder in sorted(root.glob(f"{_TABLES}*/")) + sorted(root.glob(f"{_TABLES}/*/"))]
        raise unknown("folder of tables", table, known, where=f"data.table, looked for in {root}")
    folder = _pictures(root, pictures)
    present = set(listing(root / folder).folders)
    for name in select([name for name in _CLASSES if _listed(tables, name) and name in present], classes, where=root):
        try:
            yield from _class(root, folder, tables / f"{name}.json", name)
        except UserError as error:
            yield Fault(name, error)


def _listed(tables: Path, name: str) -> bool:
    return (tables / f"{name}.json").is_file()


def _pictures(root: Path, asked: str | None) -> str:
    """The folder of images: the one that was asked for, or the only one there is."""
    folders = [name for name in listing(root).folders if name in _PICTURES]
    if asked is not None:
        if asked not in listing(root).folders:
            raise unknown("folder of images", asked, folders, where=f"data.pictures, looked for in {root}")
        return asked
    if len(folders) != 1:
        what = f"several resolutions are there: {', '.join(folders)}" if folders else "the folder of images is missing"
        hint = "say which by data.pictures=NAME" if folders else f"unpack one of {', '.join(_PICTURES)}"
        raise UserError(what, where=str(root), hint=hint)
    return folders[0]


def _class(root: Path, folder: str, table: Path, name: str) -> list[Sample]:
    try:
        content = json.loads(table.read_text(encoding="utf-8-sig"))
        meta = content.get("meta", {})
        prefix, normal = meta.get("prefix", f"{name}/"), meta.get("normal_class", "OK")
        records = [(split, record) for split in ("train", "test") for record in content[split]]
        return [_sample(root, f"{folder}/{prefix}", normal, name, split, record) for split, record in records]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "take the file of the archive"
        raise UserError(f"the table cannot be read: {error!r}", where=str(table), hint=hint) from error


def _sample(root: Path, place: str, normal: str, name: str, split: str, record: dict[str, Any]) -> Sample:
    kind, mask = record["anomaly_class"], record.get("mask_path")
    key = f"{place.rstrip('/')}/{record['image_path']}"
    return Sample(
        path=root / key,
        key=key,
        class_name=name,
        label=int(kind != normal),
        mask_path=root / place / mask if mask and kind != normal else None,
        split=split,
        defect=kind if kind != normal else "good",
        dataset="real_iad",
    )
