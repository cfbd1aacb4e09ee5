"""PIPED paper impurities: the whole set, and the small part of it that ships with the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.masks import pair_masks
from adbench.data.reading import Reading
from adbench.data.sample import Sample
from adbench.data.survey import Entry, guarded
from adbench.data.tree import at, listing, named, select
from adbench.errors import UserError

# All spellings occur in the release.
_TRUTH_FOLDERS = ("GroundTruth", "GroundThruth")
_NORMAL, _DEFECTIVE = ("NoDefects", "NoDefect"), ("Defects", "Defect")
_MINI_CLASSES = ("PA_BDP01_TL", "PA_BRG02_RL", "PA_GLA01_TL")
_MARKS = tuple(f"{place}*/{name}" for place in ("data/", "") for name in _NORMAL)
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
    "The folder of masks is spelt GroundTruth or GroundThruth; a mask has the image's name with _D_ replaced by _GT_; "
    "of PA_ZPB01_RL its numbers may lack the zeros in front (_D_01_1 and _GT_1_1).",
    "PU_PNG01_TL has no defective images, in a folder called NoDefect: they can be support images, and the class is "
    "left out of evaluations.",
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
def index_piped(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
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
def index_piped_mini(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the shipped part."""
    return _index(root, classes, "piped_mini")


def _index(root: Path, classes: Sequence[str] | None, dataset: str) -> Iterator[Entry]:
    # Keys are relative to the folder of classes, so that both ways to give the root name the same images.
    root = root / place if (root / (place := at(root, "data"))).is_dir() else root
    sides = {name: _sides(root / name) for name in listing(root).folders}
    for name in select(sides if classes else [name for name in sides if any(sides[name])], classes, where=root):
        if not any(sides[name]):
            hint = "unpack the whole class"
            raise UserError("the folder has no NoDefects and Defects in it", where=str(root / name), hint=hint)
        yield from guarded(name, _class(root, name, *sides[name], dataset))


def _sides(folder: Path) -> tuple[str | None, str | None]:
    """The folders of normal and of defective images of a class, None for one that is not there."""
    folders = listing(folder).folders
    return named(folders, *_NORMAL, where=folder), named(folders, *_DEFECTIVE, where=folder)


def _class(root: Path, name: str, normal: str | None, defective: str | None, dataset: str) -> Iterator[Sample]:
    images = () if normal is None else listing(root / name / normal).images
    for number, image in enumerate(images):
        split = "train" if number < len(images) // 2 else "test"
        yield Sample.below(root, f"{name}/{normal}/{image}", dataset=dataset, class_name=name, split=split)
    if defective is None:
        return
    here = listing(root / name / defective)
    truth = here.path / (named(here.folders, *_TRUTH_FOLDERS, where=here.path) or _TRUTH_FOLDERS[0])
    by_mask = {image.replace("_D_", "_GT_"): image for image in here.images}
    pairs = pair_masks(list(by_mask), listing(truth).images if truth.is_dir() else (), where=truth)
    for mask, image in by_mask.items():
        yield Sample.below(
            root,
            f"{name}/{defective}/{image}",
            dataset=dataset,
            class_name=name,
            defect="impurity",
            masks=[truth / pairs[mask][0]],
            reading=Reading(inverted=True),
        )
