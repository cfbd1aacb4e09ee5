"""RSDDs: rail surfaces. Several different sets have this name; which one was read stands in every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.masks import pair_masks
from adbench.data.mvtec_layout import index_classes
from adbench.data.sample import Sample
from adbench.data.survey import Entry, Note, guarded
from adbench.data.tree import has, listing, named, select
from adbench.errors import UserError

_TYPES = {name: f"{name}_RSDDs_dataset" for name in ("Type-I", "Type-II")}
_PICTURES, _TRUTH = "Rail_surface_images", "GroundTruth"


@register(
    "rsdds",
    title="RSDDs: rail surface defects",
    domain="industrial",
    task="classification and localisation",
    classes=(),
    licence="none stated; see the source page",
    source="https://github.com/neu-rail-rsdds/rail_surface_anomaly_detection",
    citation="J. Gan, Q. Li, J. Wang, H. Yu: A Hierarchical Extractor-Based Visual Rail Surface Inspection System. "
    "IEEE Sensors Journal 17(23), 2017 (RSDDs); others as their pages say",
    how_to_get="Download one of the sets named below and unpack it to data/rsdds",
    folders=("RSDDs", "RSDD", "RSDDS"),
    marks=(*_TYPES.values(), "RSDD-*/test", "RSDD_*/test"),
    layout="""\
Type-{I,II}_RSDDs_dataset/{Rail_surface_images,GroundTruth}/NAME     Beijing Jiaotong University
or, of NEU, arranged for anomaly detection:
RSDD-N/{train,test}/<kind>/NAME.bmp
RSDD-N/ground_truth/<kind>/NAME.png""",
    quirks=(
        "RSDDs of Beijing Jiaotong University (2017): long strips, every one with defects, so that image metrics are "
        "not defined; classes Type-I and Type-II.",
        "The sets of NEU arranged as MVTec AD: classes as their folders are called.",
        "RSDD of Bayes-PFL (crops, class Metal15, 387 anomalous and 387 normal test images), which tables of zero-shot "
        "methods since 2025 mean: only by the meta.json of its archive.",
        "NEU RSDDS, pictures with depth, is another set and is not read. Numbers of images are not checked; two of "
        "these sets in one folder are refused.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index that of the sets which is there, and say which."""
    folders = listing(root).folders
    types = {name: folder for name, known in _TYPES.items() if (folder := named(folders, known, where=root))}
    arranged = [name for name in folders if name not in types.values() and has(root / name, "test")]
    if types and arranged:
        what = f"two sets are called RSDDs: {next(iter(types.values()))!r} and {arranged[0]!r}"
        raise UserError(what, where=str(root), hint="give each a folder of its own, and one of them by data.root=DIR")
    if types:
        yield Note("RSDDs of Beijing Jiaotong University, all images with defects", in_rows=True)
        for name in select(types, classes, where=root):
            yield from guarded(name, _strips(root, types[name], name))
    else:
        yield Note("RSDDS of NEU, arranged for anomaly detection", in_rows=True)
        yield from index_classes(root, classes, names=arranged, dataset="rsdds")


def _strips(root: Path, folder: str, name: str) -> Iterator[Sample]:
    """The strips of one type with their masks."""
    places = {
        part: root / folder / (named(listing(root / folder).folders, part, where=root / folder) or part)
        for part in (_PICTURES, _TRUTH)
    }
    images = listing(places[_PICTURES]).images
    paired = pair_masks(images, listing(places[_TRUTH]).images, where=places[_TRUTH])
    for image in images:
        key, files = f"{folder}/{places[_PICTURES].name}/{image}", (places[_TRUTH] / mask for mask in paired[image])
        yield Sample.below(root, key, dataset="rsdds", class_name=name, defect="defect", masks=files)
