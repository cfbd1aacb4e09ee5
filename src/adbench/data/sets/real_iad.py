"""Real-IAD: 30 industrial objects, each seen by five cameras."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.part_tables import Record, pictures_folder, read_table, tables_folder, view
from adbench.data.sample import Sample
from adbench.data.survey import Entry, guarded
from adbench.data.tree import listing, select

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
        "151,050 images in all, 99,721 of them normal; a measured copy has as many, and 51,329 masks. Numbers per "
        "class could not be found, so they are not checked.",
        "Figures per part, whose score is the maximum over its five views: "
        "eval.metrics=object_auroc,object_ap,object_f1max.",
        "Classes of which no table or no folder is there are left out.",
    ),
)
def index(
    root: Path, classes: Sequence[str] | None, *, table: str = _TABLES, pictures: str | None = None
) -> Iterator[Entry]:
    """Index by the tables of each class."""
    tables = tables_folder(root, table, _TABLES)
    folder = pictures_folder(root, pictures, _PICTURES)
    present = set(listing(root / folder).folders)
    known = [name for name in _CLASSES if (tables / f"{name}.json").is_file() and name in present]
    for name in select(known, classes, where=root):
        yield from guarded(name, _class(root, folder, tables / f"{name}.json", name))


def _class(root: Path, folder: str, table: Path, name: str) -> Iterator[Sample]:
    def sample_of(split: str, record: Record, meta: Record) -> Sample:
        place = f"{folder}/{meta.get('prefix', f'{name}/')}"
        anomalous = record["anomaly_class"] != meta.get("normal_class", "OK")
        return view(root, place, record, anomalous=anomalous, class_name=name, split=split, dataset="real_iad")

    yield from read_table(table, sample_of)
