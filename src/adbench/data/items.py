"""One sample as tensors, and several of them as a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from PIL.Image import Image
from PIL.Image import new as new_image
from torch import Tensor

from adbench.data.contents import Contents
from adbench.data.defects import DefectMask
from adbench.data.images import contents_of, open_mask, open_picture, read_masks
from adbench.data.label_maps import open_labels
from adbench.data.mosaic import paste
from adbench.data.sample import Batch, Sample
from adbench.data.saturation import defect_masks
from adbench.data.transforms import PairTransform, PixelTransform, SceneTransform, Transform
from adbench.errors import UserError


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a batch: tensor, annotation, stored (height, width), label, what it held, annotation known."""

    image: Tensor
    annotation: Tensor | None
    size: tuple[int, int]
    label: int
    field: Literal["masks", "label_maps", "targets"]
    """The field of `Batch` that the annotation belongs to."""
    contents: Contents | None = None
    annotated: bool = True
    defects: list[DefectMask] | None = None


def load_item(
    sample: Sample,
    transform: Transform,
    with_masks: bool,
    parts: list[Sample] | None = None,
    changes: np.random.Generator | None = None,
    *,
    with_defects: bool = False,
    as_pixels: bool = False,
) -> Item:
    """Decode a sample. Raises UserError naming the file that is broken.

    parts    the samples of the mosaic that takes its place
    changes  what image and mask are changed with at random in training, where the transform does that
    with_defects  the masks of single defects too, where there are masks
    as_pixels     the image is left as pixels, uint8, which a `PixelTransform` normalises later; without `changes`
    """
    label, marked, stored = sample.label, None, None
    image, pasted = (open_picture(sample), None) if parts is None else paste(parts)
    try:
        labels: Tensor | None = None
        if sample.label_ids is not None:
            if with_masks and sample.mask_path is not None:
                values = open_labels(sample, image.size)  # (h, w)
                labels = torch.from_numpy(values.astype(np.int64))
                label = int((values == 1).any()) if label < 0 else label
        elif with_masks:
            stored = open_mask(sample, image.size) if pasted is None else pasted
            marked = _share(stored) if label == 1 and sample.mask_path is not None and pasted is None else None
        tensor, mask = _tensors(transform, image, stored, changes, as_pixels)
        defects = single_defects(sample, image.size) if stored is not None and with_defects else None
        contents = contents_of(image, marked)
        annotated = all(part.annotated for part in parts or [sample])
        field: Literal["masks", "label_maps"] = "masks" if sample.label_ids is None else "label_maps"
        size = (image.height, image.width)
        return Item(tensor, mask if labels is None else labels, size, label, field, contents, annotated, defects)
    except (OSError, ValueError) as error:
        raise _unprepared(sample, error) from error


def _tensors(
    transform: Transform, image: Image, mask: Image | None, changes: np.random.Generator | None, as_pixels: bool
) -> tuple[Tensor, Tensor | None]:
    """The image and its mask as tensors, at random changed together where the transform does that in training."""
    if changes is not None and isinstance(transform, PairTransform):
        return transform.augmented_pair(image, mask, changes)
    prepare = transform.pixels if as_pixels and isinstance(transform, PixelTransform) else transform.image
    return prepare(image), None if mask is None else _mask(transform, mask)


def _mask(transform: Transform, mask: Image) -> Tensor:
    """The mask as tensor; nothing is resized where it marks nothing, as on all normal images."""
    if mask.getbbox() is not None or not isinstance(transform, PixelTransform):
        return transform.mask(mask)
    return torch.zeros(_mask_size(transform, mask.size), dtype=torch.bool)


@lru_cache(maxsize=256)
def _mask_size(transform: PixelTransform, size: tuple[int, int]) -> torch.Size:
    """Height and width of the tensors that masks of `size` (width, height) become."""
    return transform.mask(new_image("L", size)).shape


def single_defects(sample: Sample, size: tuple[int, int]) -> list[DefectMask]:
    """The masks of single defects of an image of `size` (width, height)."""
    return [] if sample.label == 0 else defect_masks(sample, read_masks(sample, size))


def _share(mask: Image) -> float:
    """The share of a mask's pixels that are marked."""
    return float(np.count_nonzero(np.asarray(mask)) / (mask.width * mask.height))


def load_augmented(sample: Sample, transform: Transform, random: np.random.Generator) -> Item:
    """Decode an image with its label map, changed at random as the transform does in training.

    Raises UserError where there is no label map, and naming the file that is broken.
    """
    if not isinstance(transform, SceneTransform) or sample.mask_path is None:
        raise UserError("there is no label map to train on", where=str(sample.path), hint="leave the image out")
    image = open_picture(sample)
    labels = open_labels(sample, image.size)
    try:
        tensor, target = transform.augmented(image, labels, random)
    except (OSError, ValueError) as error:
        raise _unprepared(sample, error) from error
    return Item(tensor, target, (image.height, image.width), sample.label, "targets")


def _unprepared(sample: Sample, error: Exception) -> UserError:
    return UserError(f"image cannot be prepared: {error}", where=str(sample.path), hint="replace the file")


def collate(samples: Sequence[Sample], items: list[Item]) -> Batch:
    """One batch of these samples' items. Raises UserError for images of several sizes."""
    if not samples:
        raise UserError("no images to load", hint="give at least one sample")
    shapes = {(item.image.shape, item.field, None if (a := item.annotation) is None else a.shape) for item in items}
    if len(shapes) > 1:
        raise UserError(
            "images of several sizes cannot be one batch",
            where=", ".join(sample.key for sample in samples[:4]),
            hint="use a batch size of 1, or a preprocessing that crops them",
        )
    annotations = [item.annotation for item in items if item.annotation is not None]
    stacked: dict[str, Any] = {items[0].field: torch.stack(annotations)} if annotations else {}  # (B, H', W')
    return Batch(
        images=torch.stack([item.image for item in items]),  # (B, 3, H, W)
        labels=torch.tensor([item.label for item in items], dtype=torch.int64),
        class_names=[sample.class_name for sample in samples],
        paths=[sample.key for sample in samples],
        dataset="+".join(dict.fromkeys(sample.dataset for sample in samples)),
        sizes=[item.size for item in items],
        contents=[item.contents or Contents() for item in items],
        defects=[item.defects or [] for item in items] if items[0].defects is not None else None,
        annotated=[item.annotated for item in items] if annotations else None,
        **stacked,
    )
