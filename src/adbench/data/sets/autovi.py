"""AutoVI: inspection of cars on the line, masks one by one with saturations, as in MVTec LOCO AD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.mvtec_layout import class_folders, class_place, index_class
from adbench.data.saturation import with_saturations
from adbench.data.survey import Entry, guarded
from adbench.data.tree import select

# class: training images, normal and defective test images. Of the two others sources differ.
_COUNTS = {
    "engine_wiring": (285, 285, 322),
    "tank_screw": (318, 318, 95),
    "underbody_pipes": (161, 161, 184),
    "underbody_screw": (373, 374, 18),
}
_CLASSES = ("engine_wiring", "pipe_clip", "pipe_staple", "tank_screw", "underbody_pipes", "underbody_screw")


@register(
    "autovi",
    title="AutoVI: Automotive Visual Inspection (Renault)",
    domain="industrial",
    task="classification and localisation",
    classes=_CLASSES,
    expected={name: Counts(train=t, normal=n, anomalous=a) for name, (t, n, a) in _COUNTS.items()},
    licence="CC BY-NC-SA 4.0 (non-commercial)",
    source="https://zenodo.org/records/10459003",
    citation="P. Carvalho, M. Lafou, A. Durupt, A. Leblanc, Y. Grandvalet: The Automotive Visual Inspection Dataset "
    "(AutoVI). doi:10.5281/zenodo.10459003; Computers in Industry 2024, doi:10.1016/j.compind.2024.104151",
    how_to_get="Download an archive per class from the source page and unpack them to data/autovi",
    folders=("AutoVI", "AutoVI_dataset"),
    marks=tuple(f"{name}/test" for name in _CLASSES),
    layout="""\
<class>/train/good/NNNN.png
<class>/test/{good,<kind>}/NNNN.png
<class>/ground_truth/<kind>/NNNN/MMMM.png       a file per defect
<class>/defects_config.json                     saturation by the value of a mask's pixels""",
    quirks=(
        "Kinds are names of defects, such as unclipped. Masks have three equal channels; their value is the key into "
        "defects_config.json, as in MVTec LOCO AD. eval.metrics=pixel_auspro measures them one by one; everything else "
        "takes them joined.",
        "There are versions of pipe_clip and pipe_staple with some images more or less: their numbers are not checked.",
        "The authors' script weighs kinds by their numbers of images; columns here are over the images of a class.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the raw layout; folders that are not classes of the set are left alone."""
    folders = class_folders(root, _CLASSES)
    for name in select(folders, classes, where=root):
        place = class_place(root, folders[name])
        samples = index_class(root, place, dataset="autovi", class_name=name)
        yield from guarded(name, with_saturations(samples, root / place))
