"""Which mask belongs to which image: by name, as the published sets and most tools write them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from adbench.data.gaps import are_tolerated
from adbench.errors import UserError

MASK_SUFFIXES = ("", "_mask", "_label", "_gt", "-mask", "-label", "-gt", "_groundtruth", "_segmentation")


def pair_masks(images: Sequence[str], masks: Sequence[str], *, where: Path) -> dict[str, str]:
    """Return image name -> mask name for file names of two folders; every image gets one, masks may be left over.

    A mask has the stem of its image, with or without a suffix such as `_mask`, `_label`, `_gt`; extension and case of
    letters do not matter. If not a single pair is found in this way and there are as many masks as images, they are
    paired in sorted order. Anything else raises UserError: a mask is never guessed. Where `gaps` are tolerated, an
    image without a mask is paired with the name that its mask should have.
    """
    by_stem: dict[str, str] = {}
    for mask in masks:
        other = by_stem.setdefault(_stem(mask), mask)
        if other != mask:
            raise UserError(
                f"two masks have the same stem: {other!r} and {mask!r}", where=str(where), mend="remove one of them"
            )
    pairs = {}
    for image in images:
        own = [by_stem[_stem(image) + suffix] for suffix in MASK_SUFFIXES if _stem(image) + suffix in by_stem]
        if own:
            pairs[image] = own[0]
    if len(pairs) == len(images):
        return pairs
    if not pairs and len(masks) == len(images):
        return dict(zip(sorted(images), sorted(masks), strict=True))
    missing = [image for image in images if image not in pairs]
    if are_tolerated():
        return pairs | {image: _expected(image, pairs) for image in missing}
    raise UserError(
        f"{len(missing)} of {len(images)} anomalous images have no mask among {len(masks)} files, first {missing[0]!r}",
        where=str(where),
        mend="name each mask as its image, with or without _mask, _label or _gt",
    )


def _expected(image: str, pairs: Mapping[str, str]) -> str:
    """The name of a missing mask, formed as the names of the other masks are."""
    for other, mask in pairs.items():
        suffix = _stem(mask).removeprefix(_stem(other))
        return f"{os.path.splitext(image)[0]}{suffix}{os.path.splitext(mask)[1]}"
    return f"{os.path.splitext(image)[0]}_mask.png"


def split_off_masks(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate a folder that holds images and their masks side by side (`7.png`, `7_mask.png`): (images, masks)."""
    stems = {_stem(name) for name in names}
    masks = [name for name in names if any(_base(name, suffix) in stems for suffix in MASK_SUFFIXES[1:])]
    return [name for name in names if name not in set(masks)], masks


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


def _base(name: str, suffix: str) -> str | None:
    stem = _stem(name)
    return stem.removesuffix(suffix) if stem.endswith(suffix) else None
