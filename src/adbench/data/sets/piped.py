"""PIPED paper impurities: the whole set, and the small part of it that ships with the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.gaps import are_tolerated
from adbench.data.reading import Reading
from adbench.data.sample import Sample
from adbench.data.tree import Listing, listing, select
from adbench.errors import UserError

# Both spellings occur in the release.
_TRUTH_FOLDERS = ("GroundTruth", "GroundThruth")
_MINI_CLASSES = ("PA_BDP01_TL", "PA_BRG02_RL", "PA_GLA01_TL")
_MARKS = ("data/*/NoDefects", "*/NoDefects")
_LICENCE = "CC BY 4.0"
_SOURCE = "https://github.com/bianconif/PIPED"
_CITATION = (
    "F. Bianconi, L. Ceccarelli, A. Fernandez, S. A. Saetta: A sequential machine vision procedure for assessing paper "
    "impurities. Computers in Industry 65(2), 2014, 325-332"
)
_LAYOUT = """\
[data/]<class>/NoDefects/*_ND_*.bmp
[data/]<class>/Defects/*_D_*.bmp
[data/]<class>/Defects/{GroundTruth,GroundThruth}/*_GT_*.bmp"""
_QUIRKS = (
    "The folder of masks is spelt GroundTruth or GroundThruth; a mask has the image's name with _D_ replaced by _GT_.",
    "Masks are 1-bit and inverted: black (0) is the defect, white the background.",
    "There is no official split: of a class's sorted normal images the first half (rounded down) is for training, the "
    "others and all defective images are test images.",
    "It is easy: the distance to an image's median colour already separates it. It checks a pipeline, not a method.",
)


@register(
    "piped",
    title="PIPED: Paper ImPuritiEs Dataset",
    domain="industrial",
    task="classification and localisation",
    classes=(),
    expected={name: Counts(train=24, normal=24, anomalous=48) for name in _MINI_CLASSES},
    licence=_LICENCE,
    source=_SOURCE,
    citation=_CITATION,
    how_to_get="git clone https://github.com/bianconif/PIPED data/piped",
    folders=("PIPED",),
    marks=_MARKS,
    layout=_LAYOUT,
    quirks=("13 classes, one folder each; those that are found are used.", *_QUIRKS),
)
def index_piped(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index the classes below `root` or `root/data`."""
    return _index(root, classes, "piped")


@register(
    "piped_mini",
    title="PIPED, small part shipped with adbench",
    domain="industrial",
    task="classification and localisation",
    classes=_MINI_CLASSES,
    expected={name: Counts(train=4, normal=5, anomalous=9) for name in _MINI_CLASSES},
    licence=_LICENCE,
    source=_SOURCE,
    citation=_CITATION,
    how_to_get="It is part of the package: nothing needs to be downloaded",
    bundled=Path(__file__).parents[1] / "assets" / "piped_mini",
    marks=_MARKS,
    layout=_LAYOUT,
    quirks=("3 of the 13 classes, 9 normal and 9 defective images of each, as released (2.7 MB).", *_QUIRKS),
)
def index_piped_mini(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index the shipped part."""
    return _index(root, classes, "piped_mini")


def _index(root: Path, classes: Sequence[str] | None, dataset: str) -> Iterator[Sample]:
    # Keys are relative to the folder of classes, so that both ways to give the root name the same images.
    root = root / "data" if (root / "data").is_dir() else root
    for name in select(listing(root).folders, classes, where=root):
        folders = listing(root / name).folders
        if not {"NoDefects", "Defects"} <= set(folders):
            if classes is None:
                continue
            mend = "unpack the whole class"
            raise UserError("the folder has no NoDefects and Defects in it", where=str(root / name), mend=mend)
        normal, defective = listing(root / name / "NoDefects"), listing(root / name / "Defects")
        half = len(normal.images) // 2
        for number, image in enumerate(normal.images):
            yield Sample(
                path=normal.path / image,
                key=f"{name}/NoDefects/{image}",
                class_name=name,
                label=0,
                mask_path=None,
                split="train" if number < half else "test",
                defect="good",
                dataset=dataset,
            )
        yield from _defective(defective, name, dataset)


def _defective(folder: Listing, name: str, dataset: str) -> Iterator[Sample]:
    masks = _masks(folder)
    for image in folder.images:
        mask = image.replace("_D_", "_GT_")
        if mask not in masks and not are_tolerated():
            where = str(folder.path / image)
            raise UserError(
                f"the mask {mask} is missing", where=where, mend="get the masks folder of the release again"
            )
        yield Sample(
            path=folder.path / image,
            key=f"{name}/Defects/{image}",
            class_name=name,
            label=1,
            mask_path=masks.get(mask, folder.path / _TRUTH_FOLDERS[0] / mask),
            split="test",
            defect="impurity",
            dataset=dataset,
            reading=Reading(inverted=True),
        )


def _masks(folder: Listing) -> dict[str, Path]:
    places = [folder.path / name for name in _TRUTH_FOLDERS if name in folder.folders]
    return {mask: place / mask for place in places for mask in listing(place).images}
