"""Sets that are a folder of images and a folder of their masks, all of them anomalous (medical segmentation sets)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from adbench.data.masks import pair_masks
from adbench.data.mvtec_layout import index_class
from adbench.data.sample import Sample
from adbench.data.tree import at, has, listing, unwrapped
from adbench.errors import UserError

NO_NORMAL = (
    "Every image is anomalous: image metrics are not defined (n/a), only the pixel metrics of the test split are."
)


def arranged_layout(name: str, *, masks: bool = True) -> str:
    """The lines of a set's layout that describe how AdaCLIP arranges it."""
    lines = ["or, as AdaCLIP arranges it:", f"{name}/{{train,test}}/{{good,<kind>}}/IMAGE"]
    return "\n".join([*lines, f"{name}/ground_truth/<kind>/MASK"] if masks else lines)


def index_pairs(
    root: Path,
    *,
    dataset: str,
    class_name: str,
    defect: str,
    pairs: Sequence[tuple[str, str]],
    arranged: str | None = None,
    is_image: Callable[[str], bool] = lambda name: True,
) -> Iterator[Sample]:
    """Yield the samples of a set with one class: as AdaCLIP arranges it where that is there, else of a pair of folders.

    `pairs` lists (folder of images, folder of masks); the first of which both exist is read, all of it as test images.
    `arranged` is the class folder of AdaCLIP's arrangement, where it has another name than the class.
    `is_image` tells images from other pictures beside them by the file's name. Raises UserError where no pair exists
    and where it is not clear which mask is meant.
    """
    if has(root, f"{arranged or class_name}/test"):
        yield from index_class(root, at(root, arranged or class_name), dataset=dataset, class_name=class_name)
        return
    pair = next(iter(present(root, pairs)), None)
    if pair is None:
        raise UserError(
            "no folders of images and masks",
            where=str(root),
            hint=f"expected {' or '.join(' + '.join(pair) for pair in pairs)}, or {arranged or class_name}/test",
        )
    folder, masks = (unwrapped(root, at(root, part)) for part in pair)
    images = [image for image in listing(root / folder).images if is_image(image)]
    paired = pair_masks(images, listing(root / masks).images, where=root / masks)
    for image in images:
        key, files = f"{folder}/{image}", (root / masks / mask for mask in paired[image])
        yield Sample.below(root, key, dataset=dataset, class_name=class_name, defect=defect, masks=files)


def present(root: Path, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the pairs of folders of which both exist below `root`."""
    return [pair for pair in pairs if all((root / at(root, folder)).is_dir() for folder in pair)]
