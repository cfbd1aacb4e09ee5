"""A few small pictures to run whole commands on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64

TRAIN = [
    "method=adaclip",
    "clip=demo",
    "data=folder",
    "data.root=pictures",
    "trainer.epochs=1",
    "method.k_clusters=3",
    "method.prompting_length=3",
]


def picture(seed: int, *, spot: bool) -> tuple[Image.Image, Image.Image]:
    """A grey texture, with a dark spot or without, and its mask."""
    values = np.random.default_rng(seed).normal(150, 12, (SIDE, SIDE, 3))
    mask = np.zeros((SIDE, SIDE), bool)
    if spot:
        mask[20:36, 24:44] = True
        values[mask] -= 90
    return Image.fromarray(values.clip(0, 255).astype(np.uint8)), Image.fromarray(mask.astype(np.uint8) * 255)


def write_pictures(root: Path, *, n: int = 3, first_seed: int = 0) -> None:
    """good/, bad/ and masks/ with n pictures each."""
    for number in range(n):
        for folder, spot in (("good", False), ("bad", True)):
            image, mask = picture(first_seed + 2 * number + spot, spot=spot)
            (root / folder).mkdir(parents=True, exist_ok=True)
            image.save(root / folder / f"{number}.png")
            if spot:
                (root / "masks").mkdir(exist_ok=True)
                mask.save(root / "masks" / f"{number}.png")
