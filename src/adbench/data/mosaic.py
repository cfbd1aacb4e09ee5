"""Mosaic augmentation of AdaCLIP's training on MVTec AD: four images of one class pasted 2 x 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from adbench.data.images import open_mask, open_picture
from adbench.data.sample import Sample
from adbench.errors import UserError

_GRID = 2
_ITEM = 2  # the stream of random numbers, of those of a training


class Mosaic:
    """Draws, for some items of a training set, four images to paste in the place of one: by (seed, epoch, index).

    `probabilities` holds the share of mosaics per data set name; sets without an entry get none. The partners come from
    the samples given here, from the item's own class and data set, without replacement; the item itself may be missing
    among them. Classes of fewer than four images get no mosaics.
    """

    def __init__(self, samples: Sequence[Sample], probabilities: Mapping[str, float], seed: tuple[int, int]) -> None:
        for dataset, probability in probabilities.items():
            if not 0 <= probability <= 1:
                raise UserError(f"mosaic probability of {dataset} is {probability}", hint="give a number from 0 to 1")
        self._samples, self._probabilities, self._seed = samples, dict(probabilities), seed
        self._groups: dict[tuple[str, str], list[Sample]] = {}
        for sample in samples:
            if self._probabilities.get(sample.dataset, 0) > 0:
                self._groups.setdefault((sample.dataset, sample.class_name), []).append(sample)

    def draw(self, index: int) -> list[Sample] | None:
        """Return the four samples of the mosaic that replaces that sample, or None to keep it as it is."""
        sample, random = self._samples[index], np.random.default_rng([*self._seed, _ITEM, index])
        probability = self._probabilities.get(sample.dataset, 0)
        if probability == 0 or random.random() >= probability:
            return None
        group = self._groups[sample.dataset, sample.class_name]
        if len(group) < _GRID**2:
            return None
        return [group[i] for i in random.choice(len(group), _GRID**2, replace=False)]


def paste(parts: Sequence[Sample]) -> tuple[Image.Image, Image.Image]:
    """Return the mosaic image (RGB) and its mask (0 or 255) of four samples, row by row from the upper left.

    The canvas is twice the first image in width and height. Images of another size than the first are resized to it
    (image bicubic, mask nearest neighbour); in MVTec AD all images of a class have one size.
    """
    first = open_picture(parts[0])
    width, height = first.size
    canvas, canvas_mask = (
        Image.new("RGB", (_GRID * width, _GRID * height)),
        Image.new("L", (_GRID * width, _GRID * height)),
    )
    for place, part in enumerate(parts):
        image = first if place == 0 else open_picture(part)
        mask = open_mask(part, image.size)
        row, column = divmod(place, _GRID)
        corner = (column * width, row * height)
        canvas.paste(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), corner)
        canvas_mask.paste(mask.resize((width, height), Image.Resampling.NEAREST), corner)
    return canvas, canvas_mask
