"""BMAD: six medical sets, three of them with masks."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.folder_layout import role
from adbench.data.masks import pair_masks
from adbench.data.mvtec_layout import VALIDATED, class_folders, class_place
from adbench.data.sample import Sample
from adbench.data.stems import plain
from adbench.data.survey import Entry, guarded
from adbench.data.tree import listing, named, select

_CLASSES = ("Brain", "Liver", "Retina_RESC", "Retina_OCT2017", "Chest", "Histopathology")
_OTHER_NAMES = {
    "Histopathology": ("camelyon16", "histopathology"),
    "Retina_RESC": ("RESC",),
    "Retina_OCT2017": ("OCT2017",),
}


def _patient(key: str) -> str:
    """The patient whose slice a picture of Brain shows; any other picture stands for itself."""
    folder, name = posixpath.split(key)
    return f"{folder}/{name.split('_')[0]}" if plain(key.split("/")[0]) == "brain" else key


@register(
    "bmad",
    title="BMAD: Benchmarks for Medical Anomaly Detection",
    domain="medical",
    task="classification, and localisation of Brain, Liver and Retina_RESC",
    classes=_CLASSES,
    unit_of=_patient,
    licence="CC BY-NC-SA 4.0 (non-commercial); the sources of its six sets have terms of their own",
    source="https://github.com/DorisBao/BMAD",
    citation="J. Bao, H. Sun, H. Deng, Y. He, Z. Zhang, X. Li: BMAD: Benchmarks for Medical Anomaly Detection. CVPR "
    "2024 Workshops",
    how_to_get="Follow the drive link on the source page and unpack the sets to data/bmad",
    folders=("BMAD",),
    marks=tuple(f"{name}/test" for name in (*_CLASSES, *(other for names in _OTHER_NAMES.values() for other in names))),
    layout="""\
<set>/train/good/[img/]N.png
<set>/{valid,test}/{good,Ungood}/[img/]N.png
<set>/{valid,test}/Ungood/{anomaly_mask,label}/N.png     Brain, Liver and Retina_RESC""",
    quirks=(
        "Masks are read where there are any: texts disagree on which three sets have them; the authors name Brain, "
        "Liver and RESC. Masks beside good images are left alone.",
        "The validation split holds anomalies. It is for choosing settings; only its normal images give thresholds.",
        "Class names enter the prompts as they are. Papers write brain, liver, retinal, chest, histopathology: a "
        "meta.json of one's own may call them so.",
        "Slices of Brain are of few patients (the first five digits of their names): intervals draw a patient's "
        "together.",
        "Numbers of images are not known here for certain, so they are not checked. Papers that train on a few test "
        "images of the same sets (MVFA and others) do not compare.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the sets that are there."""
    folders = class_folders(root, _CLASSES)
    for name, others in _OTHER_NAMES.items():
        if name not in folders and (folder := named(listing(root).folders, *others, where=root)):
            folders[name] = folder
    for name in select([name for name in _CLASSES if name in folders], classes, where=root):
        yield from guarded(name, _class(root, folders[name], name))


def _class(root: Path, folder: str, name: str) -> Iterator[Sample]:
    place = class_place(root, folder, VALIDATED)
    for split_folder in listing(root / place).folders:
        split = VALIDATED.get(plain(split_folder))
        for kind in listing(root / place / split_folder).folders if split is not None else ():
            yield from _kind(root, f"{place}/{split_folder}/{kind}", name, str(split), role(kind) != "normal")


def _kind(root: Path, place: str, name: str, split: str, anomalous: bool) -> Iterator[Sample]:
    """The images of good or Ungood, directly in the folder or in its folder img, with the masks beside them."""
    here = listing(root / place)
    inner = named(here.folders, "img", where=here.path)
    images = here if inner is None else listing(here.path / inner)
    truth = named(here.folders, "anomaly_mask", "label", where=here.path) if anomalous else None
    paired = {}
    if truth is not None:
        paired = pair_masks(images.images, listing(here.path / truth).images, where=here.path / truth)
    for image in images.images:
        files = [here.path / truth / mask for mask in paired.get(image, ())] if truth is not None else []
        key, defect = (images.path / image).relative_to(root).as_posix(), "abnormal" if anomalous else None
        yield Sample.below(root, key, dataset="bmad", class_name=name, split=split, defect=defect, masks=files)
