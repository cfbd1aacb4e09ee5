"""VisA: the archive with its split table, or the one-class folders made from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.csv_table import read_rows
from adbench.data.mvtec_layout import index_classes
from adbench.data.sample import Sample
from adbench.data.survey import Entry
from adbench.errors import UserError

# class: training images, normal and anomalous test images of the one-class split.
_COUNTS = {
    "candle": (900, 100, 100),
    "capsules": (542, 60, 100),
    "cashew": (450, 50, 100),
    "chewinggum": (453, 50, 100),
    "fryum": (450, 50, 100),
    "macaroni1": (900, 100, 100),
    "macaroni2": (900, 100, 100),
    "pcb1": (904, 100, 100),
    "pcb2": (901, 100, 100),
    "pcb3": (905, 101, 100),
    "pcb4": (904, 101, 100),
    "pipe_fryum": (450, 50, 100),
}
_TABLE = "split_csv/1cls.csv"


@register(
    "visa",
    title="Visual Anomaly (VisA)",
    domain="industrial",
    task="classification and localisation",
    classes=tuple(_COUNTS),
    expected={name: Counts(train=t, normal=n, anomalous=a) for name, (t, n, a) in _COUNTS.items()},
    licence="CC BY 4.0",
    source="https://github.com/amazon-science/spot-diff",
    citation="Y. Zou, J. Jeong, L. Pemula, D. Zhang, O. Dabeer: SPot-the-Difference Self-Supervised Pre-training for "
    "Anomaly Detection and Segmentation. ECCV 2022",
    how_to_get="Follow the link on the source page to VisA_20220922.tar and unpack it to data/visa",
    folders=("VisA_20220922", "VisA_pytorch", "VisA"),
    marks=(_TABLE, "1cls", *(f"{name}/{split}" for name in _COUNTS for split in ("train", "test"))),
    layout="""\
split_csv/1cls.csv                      columns object, split, label, image, mask
<class>/Data/Images/Normal/NNNN.JPG
<class>/Data/Images/Anomaly/NNN.JPG
<class>/Data/Masks/Anomaly/NNN.png
or, as the authors' script arranges it:
[1cls/]<class>/{train,test}/good/NNNN.JPG
[1cls/]<class>/test/bad/NNN.JPG
[1cls/]<class>/ground_truth/bad/NNN.png""",
    quirks=(
        "Masks hold small label numbers, one per kind of defect: every value above 0 is a defect.",
        "The split table is read where it exists, and only its rows: files that it does not name are left alone.",
        "Kinds of defects are not told apart: all are called anomaly (bad in the arranged folders).",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index by the split table, else the arranged folders."""
    if (root / _TABLE).is_file():
        yield from _from_table(root, classes)
        return
    arranged = root / "1cls" if (root / "1cls").is_dir() else root
    yield from index_classes(arranged, classes, names=_COUNTS, dataset="visa")


def _from_table(root: Path, classes: Sequence[str] | None) -> list[Sample]:
    table = root / _TABLE
    samples = []
    rows = read_rows(table)
    next(rows, None)  # the header: columns go by position, as in the authors' scripts
    for where, row in rows:
        cells = [cell.strip() for cell in row]
        if len(row) < 5 or cells[1] not in ("train", "test") or cells[2] not in ("normal", "anomaly"):
            raise UserError(
                f"a row of the split table is {','.join(row)!r}",
                where=where,
                hint="expected object, split (train or test), label (normal or anomaly), image, mask: take the "
                "archive's own file",
            )
        name, split, label, image, mask = cells[:5]
        if classes is not None and name not in classes:
            continue
        defect, files = "anomaly" if label == "anomaly" else None, [root / mask] if mask else []
        samples.append(
            Sample.below(root, image, dataset="visa", class_name=name, split=split, defect=defect, masks=files)
        )
    return samples
