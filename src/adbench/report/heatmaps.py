"""Heat maps as pictures: image | mask outline | overlay, with a line of text above."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from adbench.engine.pictures import KINDS, Picture
from adbench.report.colours import colour

OUTLINE = (0, 255, 170)
HEAT = 0.6  # share of the heat map's colour in the overlay, the rest is the image in grey
MIN_SIDE, GAP, CAPTION = 160, 4, 16


def paint(picture: Picture) -> Image.Image:
    """One panel: the image, the image with the mask's outline, the image in grey under its heat map.

    Colours run over the limits of the picture's class, so panels of a class compare.
    """
    image = Image.fromarray(picture.image)
    grow = max(1, -(-MIN_SIDE // min(image.size)))
    size = (image.width * grow, image.height * grow)
    image = image.resize(size, Image.Resampling.BICUBIC)
    parts = [image, outlined(image, picture.mask), overlay(image, picture.map, picture.limits)]
    panel = Image.new("RGB", (3 * size[0] + 2 * GAP, size[1] + CAPTION), "white")
    text = f"{KINDS[picture.label]}  score {picture.score:.4g}  {PurePosixPath(picture.key)}"
    ImageDraw.Draw(panel).text((2, 2), text.encode("latin-1", "replace").decode("latin-1"), fill=(40, 40, 40))
    for index, part in enumerate(parts):
        panel.paste(part, (index * (size[0] + GAP), CAPTION))
    return panel


def outlined(image: Image.Image, mask: NDArray[np.bool_] | None) -> Image.Image:
    """The image with the outline of its mask; without a mask, the image faded: nothing is known."""
    if mask is None:
        return Image.blend(image, Image.new("RGB", image.size, "white"), 0.6)
    inside = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST), np.bool_)
    inner = inside
    for _ in range(max(1, max(image.size) // 250)):
        inner = _eroded(inner)
    pixels = np.array(image)
    pixels[inside & ~inner] = OUTLINE
    return Image.fromarray(pixels)


def overlay(image: Image.Image, map_: NDArray[np.floating], limits: tuple[float, float]) -> Image.Image:
    """The image in grey under the colours of its anomaly map."""
    resized = Image.fromarray(np.asarray(map_, np.float32)).resize(image.size, Image.Resampling.BILINEAR)
    heat = Image.fromarray(colour(np.asarray(resized), *limits))
    return Image.blend(image.convert("L").convert("RGB"), heat, HEAT)


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the pixels that touch the outside; the image's edge does not count as outside."""
    padded = np.pad(mask, 1, constant_values=True)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
