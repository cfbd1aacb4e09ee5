"""Heat maps as pictures: image | mask outline | overlay."""

from __future__ import annotations

from PIL import Image

from adbench.engine.pictures import Picture


def paint(picture: Picture) -> Image.Image:
    """One panel: the image, the image with the mask's outline, the image under its heat map."""
    raise NotImplementedError
