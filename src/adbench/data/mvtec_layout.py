"""The folder layout of MVTec AD, which many sets share:

<class>/train/good/IMAGE   <class>/test/<good|kind>/IMAGE   <class>/ground_truth/<kind>/MASK
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from adbench.data.folder_layout import role
from adbench.data.masks import pair_masks
from adbench.data.sample import Sample
from adbench.data.stems import plain
from adbench.data.survey import Entry, guarded
from adbench.data.tree import join, listing, mask_files, named, select, through

TRUTH = "ground_truth"
SPLITS = {"train": "train", "test": "test"}
VALIDATION = dict.fromkeys(("validation", "validate", "valid", "val"), "validation")
"""A split of normal images from which thresholds come, by all names that copies give it."""
VALIDATED = {**SPLITS, **VALIDATION}


def class_folders(root: Path, names: Collection[str]) -> dict[str, str]:
    """Class -> its folder below `root`, for the classes that are there; names are compared as `tree.named` does."""
    folders = listing(root).folders
    by_name = {name: named(folders, name, where=root) for name in names}
    return {name: folder for name, folder in by_name.items() if folder is not None}


def index_classes(
    root: Path, classes: Sequence[str] | None, *, names: Collection[str], dataset: str, normal: str = "good"
) -> Iterator[Entry]:
    """Yield the samples of all class folders below `root`, or of `classes`.

    `names` are the classes of the set; other folders are left alone, and any class may be missing. `normal` is that of
    `index_class`.
    """
    folders = class_folders(root, names)
    for name in select(folders, classes, where=root):
        yield from guarded(name, index_class(root, folders[name], dataset=dataset, class_name=name, normal=normal))


def index_class(
    root: Path,
    folder: str,
    *,
    dataset: str,
    class_name: str,
    normal: str = "good",
    masks: bool = True,
    splits: Mapping[str, str] = SPLITS,
    truth_within: Collection[str] = (),
) -> Iterator[Sample]:
    """Yield the samples of one class; `folder` is its place below `root`, with forward slashes.

    Names of folders are compared without case, blanks, `_` and `-`; `normal` is the name of those of normal images, and
    others that mean the same are understood (see `folder_layout.role`). `masks` says whether anomalous images must have
    masks; `splits` maps folders to splits, and such folders may be missing or empty;
    of those in `truth_within` the masks lie in the split's own folder, not beside it. Raises UserError where it is not
    clear which mask is meant.
    """
    folder = class_place(root, folder, splits)
    place = root / folder
    for split_folder, split in _folders(place, splits).items():
        within = split in truth_within
        for kind in listing(place / split_folder).folders:
            if within and role(kind) == "masks":
                continue
            images = listing(place / split_folder / kind)
            anomalous = plain(kind) != plain(normal) and role(kind) != "normal"
            truth = place / TRUTH / kind
            paired: dict[str, tuple[str, ...]] = {}
            if anomalous and masks and images.images:
                truth = _truth(place / split_folder if within else place, kind)
                paired = pair_masks(images.images, mask_files(truth) if truth.is_dir() else (), where=truth)
            for name in images.images:
                yield Sample.below(
                    root,
                    join(folder, f"{split_folder}/{kind}/{name}"),
                    dataset=dataset,
                    class_name=class_name,
                    split=split,
                    defect=kind if anomalous else None,
                    masks=[truth / mask for mask in paired.get(name, ())],
                )


def class_place(root: Path, folder: str, splits: Mapping[str, str] = SPLITS) -> str:
    """Where below `root` the splits of a class lie: in `folder`, or in a lone folder in it that an archive added."""
    return next((place for place in through(root, folder) if _folders(root / place, splits)), folder)


def _folders(place: Path, splits: Mapping[str, str]) -> dict[str, str]:
    """Folder -> split, of the splits that are there."""
    splits_of_folders = {named(listing(place).folders, name, where=place): split for name, split in splits.items()}
    return {folder: split for folder, split in splits_of_folders.items() if folder is not None}


def _truth(place: Path, kind: str) -> Path:
    """The folder of a kind's masks; where it is expected if there is none."""
    folders = listing(place).folders
    roots = [name for name in folders if role(name) == "masks"]
    root = named(folders, TRUTH, where=place) or (roots[0] if len(roots) == 1 else None)
    if root is None:
        return place / TRUTH / kind
    return place / root / (named(listing(place / root).folders, kind, where=place / root) or kind)
