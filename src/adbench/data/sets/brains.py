"""HeadCT, BrainMRI and Br35H: pictures of the head with and without a finding, labelled as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.csv_table import read_rows
from adbench.data.mvtec_layout import index_class
from adbench.data.paired_folders import arranged_layout
from adbench.data.sample import Sample
from adbench.data.sides import index_sides
from adbench.data.splits import FEW_SHOT, split_for_few_shots
from adbench.data.tree import at, has, listing, unwrapped
from adbench.errors import UserError

_NO_MASKS = "There are no masks: only image metrics are defined."
_TABLE = "labels.csv"


@register(
    "headct",
    title="Head CT - hemorrhage",
    domain="medical",
    task="classification",
    classes=("headct",),
    expected={"headct": Counts(normal=100, anomalous=100)},
    licence="see the source page",
    source="https://www.kaggle.com/datasets/felipekitamura/head-ct-hemorrhage",
    citation="F. C. Kitamura: Head CT - hemorrhage. Kaggle, 2018",
    how_to_get="Download the archive from the source page (an account is needed) and unpack it to data/headct",
    folders=("HeadCT_anomaly_detection", "HeadCT", "head_ct"),
    marks=(_TABLE, "headct/test"),
    layout="labels.csv                    a header line, then id, label (1: hemorrhage)\nhead_ct/head_ct/NNN.png\n"
    + arranged_layout("headct", masks=False),
    quirks=(_NO_MASKS, FEW_SHOT.format(order="the order of the table")),
)
def index_headct(root: Path, classes: Sequence[str] | None, *, few_shot_split: bool = False) -> list[Sample]:
    """Index by the table, or AdaCLIP's arrangement."""
    if has(root, "headct/test"):
        samples = index_class(root, at(root, "headct"), dataset="headct", class_name="headct", masks=False)
    else:
        sides = _table(root)
        samples = index_sides(
            root, normal=sides[0], anomalous=sides[1], dataset="headct", class_name="headct", defect="hemorrhage"
        )
    return split_for_few_shots(samples) if few_shot_split else list(samples)


def _table(root: Path) -> tuple[list[str], list[str]]:
    """Paths of the normal and of the anomalous images, relative to the root, in the order of the table."""
    folder = unwrapped(root, at(root, "head_ct")) if has(root, "head_ct") else ""
    sides: tuple[list[str], list[str]] = ([], [])
    rows = read_rows(root / _TABLE)
    next(rows, None)  # the header
    for where, row in rows:
        try:
            number, label = (int(cell) for cell in row[:2])
            side = {0: sides[0], 1: sides[1]}[label]
        except (ValueError, KeyError) as error:
            hint = "expected id, label (0 or 1)"
            raise UserError(f"a row is {','.join(row)!r}", where=where, hint=hint) from error
        side.append(f"{folder}/{number:03d}.png" if folder else f"{number:03d}.png")
    return sides


def _yes_no(root: Path, dataset: str, class_name: str, few_shot_split: bool) -> list[Sample]:
    """Index the folders no and yes, or AdaCLIP's arrangement."""
    samples: Iterator[Sample]
    if has(root, f"{dataset}/test"):
        samples = index_class(root, at(root, dataset), dataset=dataset, class_name=class_name, masks=False)
    else:
        sides = (at(root, "no"), at(root, "yes"))
        normal, anomalous = ([f"{side}/{name}" for name in listing(root / side).images] for side in sides)
        samples = index_sides(
            root, normal=normal, anomalous=anomalous, dataset=dataset, class_name=class_name, defect="tumour"
        )
    return split_for_few_shots(samples) if few_shot_split else list(samples)


@register(
    "brain_mri",
    title="Brain MRI Images for Brain Tumor Detection",
    domain="medical",
    task="classification",
    classes=("brain_mri",),
    expected={"brain_mri": Counts(normal=98, anomalous=155)},
    licence="none stated; see the source page",
    source="https://www.kaggle.com/datasets/navoneel/brain-mri-images-for-brain-tumor-detection",
    citation="N. Chakrabarty: Brain MRI Images for Brain Tumor Detection. Kaggle, 2019",
    how_to_get="Download the archive from the source page (an account is needed) and unpack it to data/brain_mri",
    folders=("BrainMRI", "brain_tumor_dataset"),
    marks=("yes", "brain_mri/test"),
    layout="no/IMAGE      without a tumour: .jpg, .JPG, .jpeg, .png\nyes/IMAGE     with a tumour\n"
    + arranged_layout("brain_mri", masks=False),
    quirks=(
        _NO_MASKS,
        "The archive holds all images a second time, in brain_tumor_dataset: they are not counted twice.",
        FEW_SHOT.format(order="the images sorted by name"),
        "The class name enters the prompts. AdaCLIP's is brain_mri, InCTRL's brainmri: data.class_name=brainmri.",
    ),
)
def index_brain_mri(
    root: Path, classes: Sequence[str] | None, *, few_shot_split: bool = False, class_name: str | None = None
) -> list[Sample]:
    """Index the folders no and yes, or AdaCLIP's arrangement."""
    return _yes_no(root, "brain_mri", class_name or "brain_mri", few_shot_split)


@register(
    "br35h",
    title="Br35H: Brain Tumor Detection 2020",
    domain="medical",
    task="classification",
    classes=("br35h",),
    expected={"br35h": Counts(normal=1500, anomalous=1500)},
    licence="none stated; see the source page",
    source="https://www.kaggle.com/datasets/ahmedhamada0/brain-tumor-detection",
    citation="A. Hamada: Br35H :: Brain Tumor Detection 2020. Kaggle, 2020",
    how_to_get="Download the archive from the source page (an account is needed) and unpack it to data/br35h",
    folders=("Br35h_anomaly_detection", "Br35H", "br35"),
    marks=("yes", "br35h/test"),
    layout="no/IMAGE      without a tumour\nyes/IMAGE     with a tumour\n" + arranged_layout("br35h", masks=False),
    quirks=(
        _NO_MASKS,
        "The folder pred of the archive has no labels, and Br35H-Mask-RCNN repeats images of the others: neither is "
        "read.",
        FEW_SHOT.format(order="the images sorted by name"),
    ),
)
def index_br35h(root: Path, classes: Sequence[str] | None, *, few_shot_split: bool = False) -> list[Sample]:
    """Index the folders no and yes, or AdaCLIP's arrangement."""
    return _yes_no(root, "br35h", "br35h", few_shot_split)
