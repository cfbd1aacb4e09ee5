"""Pictures of any kind and size as a method sees them, read ahead by threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from adbench.api.contents import Picture
from adbench.data.images import open_image
from adbench.data.reading import MAX_MEGAPIXELS, Reading
from adbench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from adbench.data.transforms import Transform

READING = Reading(exif=True, max_megapixels=MAX_MEGAPIXELS)
"""How files are read: turned upright by their EXIF orientation."""
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Prepared:
    """A picture as the method sees it, (3, H, W), and its own (height, width)."""

    picture: Picture
    pixels: Tensor
    size: tuple[int, int]


def prepare(picture: Picture, transform: Transform) -> Prepared:
    """Read and preprocess a picture. Raises UserError for a broken file, and an array of another kind."""
    image = open_picture(picture)
    return Prepared(picture, transform.image(image), (image.height, image.width))


def prepared_ahead(
    images: Iterable[Picture], transform: Transform, n_ahead: int
) -> Iterator[tuple[Picture, Prepared | UserError]]:
    """Pictures in order, up to `n_ahead` of them read in advance; one that cannot be read comes with the error."""

    def attempt(picture: Picture) -> Prepared | UserError:
        try:
            return prepare(picture, transform)
        except UserError as error:
            return error

    waiting: deque[tuple[Picture, Future[Prepared | UserError]]] = deque()
    with ThreadPoolExecutor(_THREADS) as threads:
        try:
            for picture in images:
                waiting.append((picture, threads.submit(attempt, picture)))
                if len(waiting) > n_ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            threads.shutdown(cancel_futures=True)


def several(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """One picture as a list of one."""
    if isinstance(pictures, (str, Path, Image.Image, np.ndarray)):
        return [pictures]
    return list(pictures)


def open_picture(picture: Picture) -> Image.Image:
    """The picture in its stored mode, upright. Raises UserError for a broken file, and an array of another kind."""
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, (str, Path)):
        return open_image(Path(picture).expanduser(), READING)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        hint = "give (height, width, 3) of uint8, red first"
        raise UserError(f"the array is {picture.dtype} {picture.shape}", where="images", hint=hint)
    return Image.fromarray(picture)
