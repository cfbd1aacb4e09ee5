"""Which images of an evaluation are worth a picture. Drawing is the report's business: a `Painter` is passed in."""

from __future__ import annotations

import bisect
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adbench.atomic import replacing
from adbench.engine.names import file_name

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from adbench.data.sample import Batch
    from adbench.methods.base import Method, Prediction


FACTS = "picture"  # text in a panel's PNG: key, label, score, image_threshold as JSON
_GAP = 6  # pixels between panels
KINDS = {1: "anomalous", 0: "normal", -1: "unlabelled"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One image with what a method says of it.

    image  (H, W, 3) uint8, as the method saw it, without padding
    mask   (H', W') bool, or None where nobody knows
    map    (H', W') float32, higher = more anomalous
    limits the smallest and largest map value of the class, for a common colour scale
    score  the image's score; the largest map value where the method gives none
    label  1 anomalous, 0 normal, -1 unknown
    size   (height, width) as stored, where `image` has other proportions than that
    image_threshold, pixel_threshold   of the class; a score, or map value, at or above it is anomalous
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    map: NDArray[np.floating[Any]]
    limits: tuple[float, float]
    score: float
    label: int
    key: str
    class_name: str
    size: tuple[int, int] | None = None
    image_threshold: float | None = None
    pixel_threshold: float | None = None


Painter = Callable[[Picture], "Image"]
"""Draws a picture as one panel (`adbench.report.heatmaps.paint`)."""


class Shortlist:
    """The pictures of one class: the `count` highest-scored anomalous images and, half as many, the lowest-scored
    anomalous ones and the highest-scored normal ones.

    Images of unknown label count as a kind of their own, with as many as the anomalous ones.
    """

    def __init__(self, count: int, method: Method) -> None:
        facts = method.transform.describe()
        self._mean = np.asarray(facts.get("mean", method.clip.mean), np.float32).reshape(3, 1, 1)
        self._std = np.asarray(facts.get("std", method.clip.std), np.float32).reshape(3, 1, 1)
        self._content = getattr(method.transform, "content_size", None)  # of scenes, which are padded
        self._squashes = self._content is None and facts.get("resize") != "short_side"
        half = (count + 1) // 2
        self._room = {(1, "highest"): count, (1, "lowest"): half, (0, "highest"): half, (-1, "highest"): count}
        self._kept: dict[tuple[int, str], list[Picture]] = {kind: [] for kind in self._room}
        self._low, self._high = np.inf, -np.inf

    def offer(self, prediction: Prediction, batch: Batch) -> None:
        """Keep what belongs on the list; of equal scores the earlier image stays first."""
        if prediction.maps is None:
            return
        for i in range(len(batch)):
            map_ = prediction.maps[i].detach().float().cpu().numpy()  # (H', W')
            self._low, self._high = min(self._low, float(map_.min())), max(self._high, float(map_.max()))
            score = float(map_.max() if prediction.scores is None else prediction.scores[i])
            wanted = [kind for kind in self._room if kind[0] == batch.labels[i]]
            ranks_of = {kind: [_rank(kind, picture.score) for picture in self._kept[kind]] for kind in wanted}
            places = {kind: bisect.bisect_right(kept, _rank(kind, score)) for kind, kept in ranks_of.items()}
            places = {kind: place for kind, place in places.items() if place < self._room[kind]}
            if not places:
                continue
            picture = Picture(
                image=self._pixels(batch.images[i], None if batch.sizes is None else batch.sizes[i]),
                mask=_mask(batch, i),
                map=map_.copy(),
                limits=(0.0, 1.0),
                score=score,
                label=int(batch.labels[i]),
                key=batch.paths[i],
                class_name=batch.class_names[i],
                size=batch.sizes[i] if self._squashes and batch.sizes is not None else None,
            )
            for kind, place in places.items():
                self._kept[kind].insert(place, picture)
                del self._kept[kind][self._room[kind] :]

    def merge(self, other: Shortlist, order: Sequence[str]) -> None:
        """Take in the list of another share of the images, whose keys in order are `order`; of equal scores the first
        stays first.
        """
        place = {key: number for number, key in enumerate(order)}
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)
        for kind, room in self._room.items():
            both = self._kept[kind] + other._kept[kind]
            ranked = [(_rank(kind, picture.score), place[picture.key], picture) for picture in both]
            self._kept[kind] = [picture for *_, picture in sorted(ranked, key=lambda entry: entry[:2])][:room]

    def pictures(self, metrics: Mapping[str, float] | None = None) -> list[Picture]:
        """Anomalous ones first, each kind by falling score and once, with the limits of the whole class and, where its
        `metrics` have them, the thresholds of F1-max.
        """
        thresholds = {name: (metrics or {}).get(f"{name}_f1max_threshold", math.nan) for name in ("image", "pixel")}
        image, pixel = (None if math.isnan(value) else value for value in thresholds.values())
        facts: dict[str, Any] = {
            "limits": (self._low, self._high),
            "image_threshold": image,
            "pixel_threshold": pixel,
        }
        once: dict[str, Picture] = {}
        for (_, end), pictures in self._kept.items():
            for picture in pictures if end == "highest" else reversed(pictures):
                once.setdefault(picture.key, replace(picture, **facts))
        return list(once.values())

    def _pixels(self, image: Tensor, size: tuple[int, int] | None) -> NDArray[np.uint8]:
        if self._content is not None and size is not None:
            height, width = self._content(*size)
            image = image[:, :height, :width]
        values = image.detach().float().cpu().numpy() * self._std + self._mean  # (3, H, W) in [0, 1]
        pixels: NDArray[np.uint8] = (values.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
        return pixels


def _rank(kind: tuple[int, str], score: float) -> float:
    """By which pictures of a kind are ordered, rising."""
    return -score if kind[1] == "highest" else score


def _mask(batch: Batch, index: int) -> NDArray[np.bool_] | None:
    """The mask of an image, if it is known; of label maps 255 is unknown."""
    if batch.truth is None or (batch.annotated is not None and not batch.annotated[index]):
        return None
    mask: NDArray[np.bool_] = batch.truth[index].cpu().numpy() == 1
    return mask


def save_pictures(pictures: Sequence[Picture], painter: Painter, folder: Path, name: str) -> None:
    """Write folder/<name>/<rank>_<kind>_<image>.png per picture and folder/<name>.png, all of them on one sheet.

    `name` is the class's, as a file name. Earlier pictures of the class go, also where there are no new ones.
    """
    drop_pictures(folder, name)
    if not pictures:
        return
    panels = [painter(picture) for picture in pictures]
    for rank, (picture, panel) in enumerate(zip(pictures, panels, strict=True)):
        path = folder / name / f"{rank:02d}_{KINDS[picture.label]}_{file_name(Path(picture.key).stem)}.png"
        facts = {key: getattr(picture, key) for key in ("key", "label", "score", "image_threshold")}
        _save(panel, path, json.dumps(facts))
    _save(stacked(panels), folder / f"{name}.png")


def drop_pictures(folder: Path, name: str) -> None:
    """Remove what `save_pictures` wrote of a class."""
    (folder / f"{name}.png").unlink(missing_ok=True)
    if (folder / name).is_dir():
        shutil.rmtree(folder / name)


def stacked(panels: Sequence[Image]) -> Image:
    """All panels below each other on white, left aligned."""
    from PIL import Image as image_module

    width = max(panel.width for panel in panels)
    height = sum(panel.height + _GAP for panel in panels) - _GAP
    sheet = image_module.new("RGB", (width, height), "white")
    top = 0
    for panel in panels:
        sheet.paste(panel, (0, top))
        top += panel.height + _GAP
    return sheet


def _save(image: Image, path: Path, facts: str = "{}") -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text(FACTS, facts)
    with replacing(path) as temporary:
        # The time of a run counts more than its megabytes.
        image.save(temporary, format="PNG", compress_level=1, pnginfo=text)
