"""A trained method for pictures of one's own: paths, PIL images or arrays in, scores and maps at their own size out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from adbench.clip import load_clip
from adbench.data.images import open_image
from adbench.data.reading import Reading
from adbench.data.sample import Batch
from adbench.engine.accumulators import as_array
from adbench.engine.class_features import EncodedClass
from adbench.engine.device import resolve_device
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalSettings
from adbench.engine.weights import WeightsRecord, load_weights, read_record
from adbench.errors import UserError
from adbench.methods import Method, build
from adbench.methods.base import Prediction

if TYPE_CHECKING:
    from adbench.data.transforms import Transform

Picture = str | Path | Image.Image | NDArray[np.uint8]
"""A file, a PIL image, or an array (H, W, 3) of uint8, red first."""
_MEMORY = EvalSettings().memory_limit_mib << 20
"""Bytes of features that stay in memory where pictures are scored together."""


@dataclass(frozen=True)
class ImagePrediction:
    """What a detector says of one picture; higher means more anomalous.

    score   the image score; the largest value of the map where the method gives none
    map     (H, W) float32 at the picture's own size, NaN where the method's crop does not reach; None without maps
    threshold, is_anomalous   None where no threshold is known
    scored_with   of how many pictures the score depends, which were given together; None: of this one alone
    """

    score: float
    map: NDArray[np.float32] | None
    class_name: str
    threshold: float | None = None
    scored_with: int | None = None

    @property
    def is_anomalous(self) -> bool | None:
        """Whether the score is above the threshold."""
        return None if self.threshold is None else self.score > self.threshold


class Detector:
    """A method with its weights. `record` says where these come from; None: nothing was trained."""

    def __init__(self, method: Method, record: WeightsRecord | None = None, *, device: str = "auto") -> None:
        self.device = resolve_device(device)
        self.method = method.to(self.device).eval()
        self.record = record

    def predict(
        self,
        images: Picture | Sequence[Picture],
        *,
        class_name: str = "object",
        support: Sequence[Picture] | None = None,
        threshold: float | None = None,
        batch_size: int = 8,
    ) -> list[ImagePrediction]:
        """Score pictures of any sizes, in order.

        class_name  what the pictures show, as it enters prompts: "metal nut"
        support     normal pictures of the class, for methods that compare with such
        threshold   scores above it are anomalous
        A transductive method takes the pictures of one call as the whole class: others beside them, other scores.
        Raises UserError for a broken file (which one) and for a method that needs support and has none.

            >>> import adbench
            >>> detector = adbench.Detector(adbench.build("clip_zeroshot", adbench.load_clip("demo")))
            >>> prediction = detector.predict(np.zeros((40, 60, 3), np.uint8), class_name="gear")[0]
            >>> prediction.map.shape
            (40, 60)
        """
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}", hint="give a number of at least 1")
        kept = self.method.memory_bank
        try:
            if support is not None:
                self.method.memory_bank = {}
                self.method.adapt(class_name, self._batch(_several(support), class_name))
            size = 1 if self.method.mixes_batch or hasattr(self.method.transform, "content_size") else batch_size
            pictures = _several(images)
            parts = [pictures[start : start + size] for start in range(0, len(pictures), size)]
            scored = self._scored((self._batch(part, class_name) for part in parts), class_name)
            together = len(pictures) if self.method.transductive else None
            return [
                replace(one, threshold=threshold, scored_with=together)
                for batch, prediction in scored
                for one in self._per_picture(batch, prediction)
            ]
        finally:
            self.method.memory_bank = kept

    def _scored(self, batches: Iterable[Batch], class_name: str) -> Iterator[tuple[Batch, Prediction]]:
        if not self.method.transductive:
            yield from ((batch, self.method.predict(batch)) for batch in batches)
            return
        with torch.no_grad():
            numbers = count()
            named = (replace(batch, paths=[str(next(numbers)) for _ in batch.paths]) for batch in batches)
            encoded = EncodedClass(((batch, self.method.encode(batch), 0.0) for batch in named), _MEMORY)
            self.method.memory_bank = dict(self.method.memory_bank)
            self.method.relate(class_name, encoded.chunks)
            for batch, features, _ in encoded:
                yield batch, self.method.score(features, batch)

    def _per_picture(self, batch: Batch, found: Prediction) -> Iterator[ImagePrediction]:
        assert batch.sizes is not None  # as `_batch` makes it
        for number, size in enumerate(batch.sizes):
            map_ = _at_own_size(found, number, size, self.method.transform)
            score = float(np.nanmax(map_)) if found.scores is None and map_ is not None else None
            if found.scores is not None:
                score = float(found.scores[number])
            if score is None:
                raise UserError(f"method {self.method.name} gives neither scores nor maps", where="predict")
            yield ImagePrediction(score, map_, batch.class_names[number])

    def _batch(self, pictures: Sequence[Picture], class_name: str) -> Batch:
        opened = [_opened(picture) for picture in pictures]
        return Batch(
            images=torch.stack([self.method.transform.image(image) for image in opened]),  # (B, 3, H, W)
            labels=torch.full((len(opened),), -1, dtype=torch.int64),
            class_names=[class_name] * len(opened),
            paths=[str(picture) if isinstance(picture, (str, Path)) else "" for picture in pictures],
            dataset="",
            sizes=[(image.height, image.width) for image in opened],
        ).to(self.device)


def load_run(path: str | Path, *, device: str = "auto") -> Detector:
    """The method of a training run (its folder, or its weights file) on the backbone that it was trained on.

    Raises UserError where there is no such run, and where the backbone's weights cannot be had.

        >>> import adbench
        >>> detector = adbench.load_run("outputs/train/adaclip/demo/A")  # doctest: +SKIP
        >>> detector.predict("picture.png", class_name="gear")[0].score  # doctest: +SKIP
    """
    place = Path(path).expanduser()
    record = read_record(place)
    if record is None:
        hint = "build the method and load the weights: Detector(method, load_weights(method, path))"
        raise UserError("this file does not say which method it is of", where=str(path), hint=hint)
    used = RunFolder(place if place.is_dir() else place.parent).config().get("clip", {})
    if used.get("name") != record.backbone.get("name"):
        used = {"name": record.backbone.get("name")}
    clip = load_clip(**used, device=resolve_device(device))
    method = build(record.method, clip, **record.hyperparameters)
    return Detector(method, load_weights(method, place), device=device)


def _several(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    if isinstance(pictures, (str, Path, Image.Image, np.ndarray)):
        return [pictures]
    return list(pictures)


def _opened(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, (str, Path)):
        return open_image(Path(picture).expanduser(), Reading(exif=True))
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        hint = "give (height, width, 3) of uint8, red first"
        raise UserError(f"the array is {picture.dtype} {picture.shape}", where="images", hint=hint)
    return Image.fromarray(picture)


def _at_own_size(
    found: Prediction, number: int, size: tuple[int, int], transform: Transform
) -> NDArray[np.float32] | None:
    """The map of one picture of (height, width) `size`: resized bilinearly to the part of it that the method saw."""
    if found.maps is None:
        return None
    map_ = torch.from_numpy(as_array(found.maps[number]).copy()).float()
    if tuple(map_.shape) == size:
        return map_.numpy()
    top, left, bottom, right = _seen(size, transform.describe())
    resized = F.interpolate(map_[None, None], (bottom - top, right - left), mode="bilinear", align_corners=False)[0, 0]
    whole = np.full(size, np.nan, np.float32)
    whole[top:bottom, left:right] = resized.numpy()
    return whole


def _seen(size: tuple[int, int], described: dict[str, Any]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the part of a picture that a transform shows the method."""
    height, width = size
    if described.get("resize") == "short_side":
        side = min(size)
        top, left = (height - side) // 2, (width - side) // 2
        return top, left, top + side, left + side
    resized = described.get("resize", described["image_size"])
    share = described["image_size"] / resized if isinstance(resized, int) else 1.0  # a crop of the squashed picture
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    return top, left, height - top, width - left
