"""The folder layout of MVTec AD, which many sets share:

<class>/train/good/IMAGE   <class>/test/<good|kind>/IMAGE   <class>/ground_truth/<kind>/MASK
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from adbench.data.gaps import are_tolerated
from adbench.data.masks import pair_masks
from adbench.data.sample import Sample
from adbench.data.tree import listing, select
from adbench.errors import UserError


def index_classes(
    root: Path, classes: Sequence[str] | None, *, names: Collection[str], dataset: str, normal: str = "good"
) -> Iterator[Sample]:
    """Yield the samples of all class folders below `root`, or of `classes`.

    `names` are the classes of the set; other folders are left alone, and any class may be missing. `normal` and the
    errors raised are those of `index_class`.
    """
    found = [name for name in listing(root).folders if name in names]
    for name in select(found, classes, where=root):
        yield from index_class(root, name, dataset=dataset, class_name=name, normal=normal)


def index_class(
    root: Path,
    folder: str,
    *,
    dataset: str,
    class_name: str,
    normal: str = "good",
    masks: bool = True,
    splits: tuple[tuple[str, str], ...] = (("train", "train"), ("test", "test")),
) -> Iterator[Sample]:
    """Yield the samples of one class; `folder` is its place below `root`, with forward slashes.

    `normal` is the name of the folders of normal images. `masks` says whether anomalous images must have masks.
    `splits` lists (folder, split) pairs; folders of splits may be missing or empty. Raises UserError where masks are
    missing or cannot be paired.
    """
    place = root / folder
    present = set(listing(place).folders)
    for split_folder, split in splits:
        if split_folder not in present:
            continue
        for kind in listing(place / split_folder).folders:
            images = listing(place / split_folder / kind)
            anomalous = kind != normal
            truth = place / "ground_truth" / kind
            paired: dict[str, str] = {}
            if anomalous and masks and images.images:
                paired = pair_masks(images.images, _masks(truth, split_folder), where=truth)
            for name in images.images:
                yield Sample(
                    path=images.path / name,
                    key=f"{folder}/{split_folder}/{kind}/{name}",
                    class_name=class_name,
                    label=int(anomalous),
                    mask_path=truth / paired[name] if name in paired else None,
                    split=split,
                    defect=kind if anomalous else "good",
                    dataset=dataset,
                )


def _masks(truth: Path, split_folder: str) -> tuple[str, ...]:
    if not truth.is_dir():
        if are_tolerated():
            return ()
        raise UserError(
            f"the masks of {split_folder}/{truth.name} are missing",
            where=f"looked for {truth}",
            mend="unpack the ground truth too",
        )
    return listing(truth).images
