"""Fishyscapes: validation labels for pictures of Lost and Found, and things pasted into pictures of Cityscapes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from adbench.data.catalogue import Counts
from adbench.data.road_layout import ROAD, files_below, register_road, road_sample
from adbench.data.survey import Entry, Fault
from adbench.data.tree import listing, select
from adbench.errors import UserError

_SOURCE = "https://fishyscapes.com/dataset"
_CITATION = (
    "H. Blum, P.-E. Sarlin, J. Nieto, R. Siegwart, C. Cadena: The Fishyscapes Benchmark: Measuring Blind Spots in "
    "Semantic Segmentation. IJCV 129, 2021"
)
_NOTES = {"val": "validation figures: Fishyscapes' test data are held back"}
_IMAGE = "_leftImg8bit.png"
_LABEL = re.compile(r"(\d+)_(.+)_labels\.png")
# Where pictures are looked for, from the folder of the labels, which an archive may have put one level deeper.
_LAF_PLACES = (
    "laf_images",
    ".",
    "..",
    *(f"{up}/{name}" for up in ("..", "../..") for name in ("lostandfound", "LostAndFound")),
)
_CITYSCAPES_PLACES = (".", *(f"{up}/{name}" for up in ("..", "../..") for name in ("cityscapes", "Cityscapes")))


@register_road(
    "fs_lostandfound",
    title="Fishyscapes Lost and Found (validation)",
    expected={ROAD: Counts(mapped=100)},
    component_sizes=(500, 100),
    evaluation_splits=("val",),
    split_notes=_NOTES,
    licence="labels: not stated; pictures: terms of Lost and Found (non-commercial research)",
    source=_SOURCE,
    citation=_CITATION,
    how_to_get="Get fishyscapes_lostandfound.zip (729335 bytes, sha256 f0078e89...) from the source page and unpack it "
    "to data/fs_lostandfound; get the pictures of Lost and Found (leftImg8bit.zip) and unpack them to "
    "data/lostandfound, or name their folder by data.images=DIR",
    folders=("fishyscapes_lostandfound", "fishyscapes_LostAndFound"),
    marks=("*_labels.png",),
    layout="""\
<NNNN>_<frame>_labels.png                                       0 normal, 1 anomalous, 255 unknown
with the pictures of Lost and Found in data.images, beside the labels, or in lostandfound/ beside their folder:
leftImg8bit/{train,test}/<scene>/<frame>_leftImg8bit.png        or all in one folder""",
    quirks=(
        "A picture may lie in either split of Lost and Found: both are searched, and flat folders too.",
        "Its PNG files carry a gamma value, which must not be applied: pixels are taken as they are stored.",
        "Components: sizes of SMIYC's AnomalyTrack (500 and 100 pixels), as in its benchmark.",
    ),
)
def index_lost_and_found(root: Path, classes: Sequence[str] | None, *, images: str | None = None) -> Iterator[Entry]:
    """Index the labels, each with its picture of Lost and Found.

    images: the folder of the pictures; None: that of the labels, or lostandfound/ beside it.
    """
    for _ in select([ROAD], classes, where=root):
        folders = _given(images, root, _LAF_PLACES, "images")
        frames: dict[str, Path] = {}
        for folder in reversed(folders):  # the first has the last word
            frames |= {file.removesuffix(_IMAGE): folder / file for file in listing(folder).images if _is_image(file)}
            for split in ("test", "train"):
                frames |= files_below(folder / "leftImg8bit" / split, _IMAGE)
        for _, frame, labels in _labels(root):
            if frame not in frames:
                wanted = f"leftImg8bit/{{train,test}}/*/{frame}{_IMAGE}"
                yield _missing_base("Lost and Found", wanted, labels, folders, "data.images=DIR")
            else:
                yield road_sample(frames[frame], f"{frame}{_IMAGE}", labels, dataset="fs_lostandfound", split="val")


@register_road(
    "fs_static",
    title="Fishyscapes Static (validation)",
    expected={ROAD: Counts(mapped=30)},
    component_sizes=(500, 100),
    evaluation_splits=("val",),
    split_notes=_NOTES,
    reported_options=("version",),
    licence="overlays: not stated; pictures: terms of Cityscapes (non-commercial research, no redistribution)",
    source=_SOURCE,
    citation=_CITATION,
    how_to_get="Get fs_val_v2.zip (4107857 bytes, sha256 bb11f288...; or v1, v3) from the source page and unpack it to "
    "data/fs_static/fs_val_v2; Cityscapes is looked for in data/cityscapes, or where data.cityscapes=DIR says",
    folders=("fishyscapes_static", "fs_val"),
    marks=("fs_val_v[123]/*_labels.png", "*_labels.png"),
    layout="""\
fs_val_v<version>/<NNNN>_<frame>_labels.png    0 normal, 1 anomalous, 255 unknown; the files may also lie directly
fs_val_v<version>/<NNNN>...rgb.npz             "rgb": signed differences to the picture of Cityscapes
with Cityscapes' leftImg8bit/{val,train}/<city>/<frame>_leftImg8bit.png""",
    quirks=(
        "Pictures are put together as they are loaded: the picture of Cityscapes plus the signed overlay, cut to "
        "0...255. Nothing is written.",
        "data.version: 1 (March 2019), 2 (June 2019, better blending; the default), 3 (January 2020, with objects of "
        "Cityscapes as negatives). Which one a published number is of is rarely said: results name the version.",
        "The pictures are of Cityscapes' validation split: a model trained on that is not comparable.",
    ),
)
def index_static(
    root: Path, classes: Sequence[str] | None, *, version: Literal[1, 2, 3] = 2, cityscapes: str | None = None
) -> Iterator[Entry]:
    """Index one version of the labels, each with its overlay and its picture of Cityscapes.

    cityscapes: the root of Cityscapes; None: the folder of this set, or cityscapes/ beside it.
    """
    for _ in select([ROAD], classes, where=root):
        folder = _version_folder(root, version)
        bases = _given(cityscapes, root, _CITYSCAPES_PLACES, "cityscapes")
        for number, frame, labels in _labels(folder):
            relative = [f"leftImg8bit/{split}/{frame.split('_')[0]}/{frame}{_IMAGE}" for split in ("val", "train")]
            candidates = [base / path for base in bases for path in relative]
            image = next((path for path in candidates if path.is_file()), None)
            if image is None:
                yield _missing_base("Cityscapes", relative[0], labels, bases, "data.cityscapes=DIR")
            else:
                key, overlay = f"{number}_{frame}{_IMAGE}", _overlay(folder, number)
                yield road_sample(image, key, labels, dataset="fs_static", split="val", overlay=overlay)


def _is_image(name: str) -> bool:
    return name.endswith(_IMAGE)


def _labels(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Number, frame and file of every label map."""
    for file in listing(folder).images:
        match = _LABEL.fullmatch(file)
        if match:
            yield match[1], match[2], folder / file


def _given(option: str | None, root: Path, places: Sequence[str], name: str) -> list[Path]:
    """The folder that an option names, else those of `places` (relative to `root`) that exist."""
    if option is None:
        return [folder for folder in dict.fromkeys((root / place).resolve() for place in places) if folder.is_dir()]
    folder = Path(option).expanduser()
    if not folder.is_dir():
        raise UserError("the folder of the pictures is missing", where=str(folder), hint=f"mend data.{name}")
    return [folder]


def _missing_base(of: str, wanted: str, labels: Path, folders: Sequence[Path], option: str) -> Fault:
    error = UserError(
        f"the picture of {of} to a label map is missing: {wanted}",
        where=f"{labels}, looked for below {', '.join(map(str, folders))}",
        hint=f"get {of} (see datasets.md) and name its folder by {option}",
    )
    return Fault(ROAD, error)


def _version_folder(root: Path, version: int) -> Path:
    named = root / f"fs_val_v{version}"
    if named.is_dir():
        return named
    other = re.fullmatch(r"fs_val_v(\d)", root.name)
    if (other is None or other[1] == str(version)) and next(_labels(root), None) is not None:
        return root
    raise UserError(
        f"version {version} of Fishyscapes Static is not here",
        where=f"looked for {named}",
        hint=f"unpack fs_val_v{version}.zip there, or choose another data.version",
    )


def _overlay(folder: Path, number: str) -> Path:
    pattern = re.compile(rf"{number}(\D.*)?rgb\.npz")
    overlays = sorted(file for file in folder.glob(f"{number}*rgb.npz") if pattern.fullmatch(file.name))
    if len(overlays) == 1:
        return overlays[0]
    if not overlays:
        return folder / f"{number}_rgb.npz"
    raise UserError(
        f"there are {len(overlays)} overlays to picture {number}",
        where=str(folder / f"{number}*rgb.npz"),
        hint="unpack the archive again: every label map has one",
    )
