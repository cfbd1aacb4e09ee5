"""A trained method for pictures of one's own: paths, PIL images or arrays in, scores and maps at their own size out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adbench.api.calibration import scores_in_order
from adbench.api.contents import Picture, distinct, require_unseen, support_sha256
from adbench.api.image_prediction import ImagePrediction
from adbench.api.own_size import at_own_size
from adbench.api.pictures import Prepared, prepare, prepared_ahead, several
from adbench.data.sample import Batch
from adbench.data.support import listing_sha256
from adbench.engine import ranks
from adbench.engine.borrowed import borrowed
from adbench.engine.class_features import Encoded, EncodedClass
from adbench.engine.device import resolve_device, to_host
from adbench.engine.rounds import dealt
from adbench.engine.settings import EvalSettings
from adbench.engine.thresholds import (
    MapScale,
    Threshold,
    check_detector,
    identity,
    read_thresholds,
    thresholds_file,
    write_thresholds,
)
from adbench.engine.weights import WeightsRecord
from adbench.errors import UserError
from adbench.methods import Method
from adbench.methods.base import Prediction
from adbench.metrics.conformal import Confidence, conformal_threshold, require_enough

_MEMORY = EvalSettings().memory_limit_mib << 20
"""Bytes of features that stay in memory where pictures are scored together."""


class Detector:
    """A method with its weights, and the thresholds of classes.

    record      where the weights come from; None: nothing was trained
    thresholds  by class; `load_run` reads those that lie beside the weights
    place       where `save_thresholds` keeps them; None: nowhere yet
    """

    def __init__(self, method: Method, record: WeightsRecord | None = None, *, device: str = "auto") -> None:
        self.device = resolve_device(device)
        self.method = method.to(self.device).eval()
        self.record = record
        self.thresholds: dict[str, Threshold] = {}
        self.place: Path | None = None
        self._kept: dict[str, Threshold] = {}  # as they were at `place`

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
        threshold   scores above it are anomalous; None: what `calibrate` has found for the class
        A transductive method takes the pictures of one call as the whole class: others beside them, other scores.
        Raises UserError for a broken file (which one), for a method that needs support and has none, and for a
        threshold that was found with other weights, settings or support.

            >>> import adbench
            >>> detector = adbench.Detector(adbench.build("clip_zeroshot", adbench.load_clip("demo")))
            >>> normal = list(np.random.default_rng(0).integers(0, 99, (29, 40, 60, 3), np.uint8))
            >>> found = detector.calibrate(normal, fpr=0.1, class_name="gear")  # at most 10 % false alarms
            >>> prediction = detector.predict(normal[0], class_name="gear")[0]
            >>> prediction.map.shape, prediction.verdict, prediction.threshold == found.value
            ((40, 60), 'normal', True)
        """
        given = self.stream(
            several(images), class_name=class_name, support=support, threshold=threshold, batch_size=batch_size
        )
        return [_sound(result) for _, result in given]

    def stream(
        self,
        images: Iterable[Picture],
        *,
        class_name: str = "object",
        support: Sequence[Picture] | None = None,
        threshold: float | None = None,
        batch_size: int = 8,
    ) -> Iterator[tuple[Picture, ImagePrediction | UserError]]:
        """Each picture with its prediction, in order, or with the error that reading it has raised.

        As `predict`, in constant memory: files are read ahead by threads, a few batches far. A transductive method
        reads all pictures before it gives the first; those that can be read are the set.
        """
        decided = self.threshold(class_name, support) if threshold is None else threshold
        stream = self._stream_set if self.method.transductive else self._stream
        return stream(images, class_name, self._memory_bank(class_name, support), decided, batch_size)

    def threshold(self, class_name: str = "object", support: Sequence[Picture] | None = None) -> float | None:
        """Above which score a picture of the class is anomalous; None where that is not known.

        Raises UserError for a threshold that was found with other weights, settings or support pictures.
        """
        known = self.thresholds.get(class_name)
        if known is None:
            return None
        where = f"class {class_name}" if self.place is None else f"class {class_name}, {self.place}"
        check_detector(known, self.identity, support_sha256(support), where)
        return known.value

    def calibrate(
        self,
        normals: Sequence[Picture],
        *,
        fpr: float,
        class_name: str = "object",
        confidence: Confidence = 0.95,
        support: Sequence[Picture] | None = None,
        batch_size: int = 8,
        progress: Callable[[int], object] = bool,
        broken: Callable[[UserError], object] | None = None,
    ) -> Threshold:
        """Find the threshold of a class that at most the share `fpr` of its normal pictures exceeds, and take it.

        normals     normal pictures that the method has not been fitted to, taken like those to come; copies count once
        confidence  that the rate holds for this very threshold; "average": it holds on average over calibrations
        progress    called with the number of pictures after each batch; `broken` with the error of each that cannot be
                    read and is left out (None: the first is raised)
        See `adbench.metrics.conformal` for what this promises. `save_thresholds` keeps it. Raises UserError where there
        are too few pictures (how many it takes), where support or training pictures are among them, and for a
        transductive method.
        """
        if self.method.transductive:
            what = f"method {self.method.name} scores pictures within a set: a threshold is of no use for another set"
            raise UserError(what, where="calibrate")
        pictures = distinct(normals)
        require_enough(len(pictures), fpr, confidence)
        require_unseen(pictures, self.record, support)
        size = self._batch_size(batch_size)
        # An earlier threshold, which may not fit any more, is not asked for.
        bank = self._memory_bank(class_name, support)
        mine = self._stream(dealt(list(pictures.values()), size), class_name, bank, None, size)
        told = scores_in_order(mine, size, len(pictures), progress, broken)
        scored = {sha256: score for sha256, score in zip(pictures, told, strict=True) if score is not None}
        conformal = conformal_threshold([normal.score for normal in scored.values()], fpr, confidence)
        low = min((normal.low for normal in scored.values() if normal.low is not None), default=0.0)
        high = max((normal.high for normal in scored.values() if normal.high is not None), default=0.0)
        self.thresholds[class_name] = Threshold(
            value=conformal.value,
            rule="conformal",
            n=conformal.n,
            n_above=conformal.n_above,
            fpr=fpr,
            confidence=confidence,
            images_sha256=listing_sha256(sorted(scored)),
            support_sha256=support_sha256(support),
            maps=MapScale(low=low, high=2 * high - low, threshold=high) if low < high else None,
            detector=self.identity,
        )
        return self.thresholds[class_name]

    def save_thresholds(self, place: str | Path | None = None) -> Path:
        """Keep the thresholds in a file, or thresholds.json of a folder; None: beside the weights. Returns the file.

        Those that the file holds stay, but for what has become of classes here since it was read.
        """
        if place is None and self.place is None:
            hint = "name a folder, or a .json file"
            raise UserError("there are no weights beside which the thresholds could be kept", hint=hint)
        path = thresholds_file(self.place if place is None else Path(place).expanduser())  # type: ignore[arg-type]
        kept = self._kept if path == self.place and path.is_file() else {}
        write_thresholds(path, {name: found for name, found in self.thresholds.items() if kept.get(name) != found})
        self.place, self._kept = path, dict(self.thresholds)
        return path

    def load_thresholds(self, place: str | Path) -> None:
        """Take the thresholds from a file, or from thresholds.json of a folder; where there is none, none."""
        self.place = thresholds_file(Path(place).expanduser())
        self.thresholds = read_thresholds(self.place)
        self._kept = dict(self.thresholds)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the scores: method, weights, hyperparameters, backbone; as JSON types."""
        return identity(self.method, self.record)

    def _memory_bank(self, class_name: str, support: Sequence[Picture] | None) -> dict[str, Any]:
        if support is None:
            return self.method.memory_bank
        with borrowed(self.method):
            self.method.memory_bank = {}
            if ranks.is_first():
                self.method.adapt(class_name, self._batch(self._prepared(several(support)), class_name))
            return ranks.broadcast(self.method.memory_bank, self.device)

    def _batch_size(self, asked: int) -> int:
        if asked < 1:
            raise UserError(f"batch_size is {asked}", hint="give a number of at least 1")
        return 1 if self.method.mixes_batch or hasattr(self.method.transform, "content_size") else asked

    def _stream(
        self,
        images: Iterable[Picture],
        class_name: str,
        memory_bank: dict[str, Any],
        threshold: float | None,
        batch_size: int,
    ) -> Iterator[tuple[Picture, ImagePrediction | UserError]]:
        size = self._batch_size(batch_size)
        ahead = prepared_ahead(images, self.method.transform, 2 * size)
        while part := list(islice(ahead, size)):
            sound = [prepared for _, prepared in part if isinstance(prepared, Prepared)]
            results: Iterator[ImagePrediction] = iter(())
            if sound:
                batch = self._batch(sound, class_name)
                with borrowed(self.method):
                    self.method.memory_bank = memory_bank
                    results = iter(list(self._per_picture(batch, self.method.predict(batch))))
            for picture, prepared in part:
                if isinstance(prepared, UserError):
                    yield picture, prepared
                else:
                    yield picture, replace(next(results), threshold=threshold)

    def _stream_set(
        self,
        images: Iterable[Picture],
        class_name: str,
        memory_bank: dict[str, Any],
        threshold: float | None,
        batch_size: int,
    ) -> Iterator[tuple[Picture, ImagePrediction | UserError]]:
        """As `_stream`, of a transductive method: all pictures are related before the first is scored."""
        size, read = self._batch_size(batch_size), list[tuple[Picture, UserError | None]]()

        def encoded_batches() -> Iterator[Encoded]:
            ahead, numbers = prepared_ahead(images, self.method.transform, 2 * size), count()
            while part := list(islice(ahead, size)):
                read.extend((picture, result if isinstance(result, UserError) else None) for picture, result in part)
                if sound := [prepared for _, prepared in part if isinstance(prepared, Prepared)]:
                    batch = replace(self._batch(sound, class_name), paths=[str(next(numbers)) for _ in sound])
                    yield batch, self.method.encode(batch), 0.0

        with borrowed(self.method):
            self.method.memory_bank = dict(memory_bank)
            with torch.no_grad():
                encoded = EncodedClass(encoded_batches(), _MEMORY)
                if encoded.chunks:
                    self.method.relate(class_name, encoded.chunks)
            score, n = torch.no_grad()(self.method.score), sum(error is None for _, error in read)
            parts = (self._per_picture(batch, score(features, batch)) for batch, features, _ in encoded)
            given = chain.from_iterable(parts)
            for picture, error in read:
                yield picture, error or replace(next(given), threshold=threshold, scored_with=n)

    def _per_picture(self, batch: Batch, prediction: Prediction) -> Iterator[ImagePrediction]:
        assert batch.sizes is not None  # as `_batch` makes it
        prediction, _ = to_host(prediction, batch)()  # waits once, not for each picture
        for number, size in enumerate(batch.sizes):
            map_ = None if prediction.maps is None else prediction.maps[number]
            if prediction.scores is None and map_ is None:
                raise UserError(f"method {self.method.name} gives neither scores nor maps", where="predict")
            score = float(map_.max() if prediction.scores is None else prediction.scores[number])  # type: ignore[union-attr]
            if not np.isfinite(score):
                raise UserError("the score is not a number", where=batch.paths[number], hint="check the weights")
            map_of_picture = None if map_ is None else at_own_size(map_, size, self.method.transform)
            yield ImagePrediction(score, map_of_picture, batch.class_names[number])

    def _prepared(self, pictures: Iterable[Picture]) -> Iterator[Prepared]:
        return (prepare(picture, self.method.transform) for picture in pictures)

    def _batch(self, pictures: Iterable[Prepared], class_name: str) -> Batch:
        prepared = list(pictures)
        return Batch(
            images=torch.stack([picture.pixels for picture in prepared]),  # (B, 3, H, W)
            labels=torch.full((len(prepared),), -1, dtype=torch.int64),
            class_names=[class_name] * len(prepared),
            paths=[str(picture.picture) if isinstance(picture.picture, (str, Path)) else "" for picture in prepared],
            dataset="",
            sizes=[picture.size for picture in prepared],
        ).to(self.device)


def _sound(result: ImagePrediction | UserError) -> ImagePrediction:
    if isinstance(result, UserError):
        raise result
    return result
