"""Batches that a GPU turns out to have no room for are encoded and scored in halves, to the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.engine.progress import Quiet, Reporter
from adbench.engine.rng import capture_streams, restore_streams
from adbench.methods.base import Features, Method, Prediction

_T = TypeVar("_T")


class Room:
    """How many images at a time a run has found room for: halved for good where memory runs out, and that is said.

    What a batch is and what is measured of it stay as they are; a single image without room raises.
    """

    def __init__(self, reporter: Reporter | None = None) -> None:
        self._reporter = reporter or Quiet()
        self._most: int | None = None

    def encode(self, method: Method, batch: Batch) -> Features:
        """The features of a batch, as `method.encode` gives them."""
        parts = self._in_parts(method, len(batch), lambda rows: method.encode(_part(batch, rows)))
        return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def score(self, method: Method, features: Features, batch: Batch) -> Prediction:
        """The prediction of a batch, as `method.score` gives it."""

        def score(rows: slice) -> Prediction:
            whole = rows == slice(0, len(batch))
            own = features if whole else {name: values[rows] for name, values in features.items()}
            return method.score(own, _part(batch, rows))

        parts = self._in_parts(method, len(batch), score)
        if len(parts) == 1:
            return parts[0]
        return Prediction(_joined([part.scores for part in parts]), _joined([part.maps for part in parts]))

    def _in_parts(self, method: Method, n_images: int, make: Callable[[slice], _T]) -> list[_T]:
        """What is made of the images from the first to the last, of as many at a time as there is room for."""
        parts: list[_T] = []
        begin = 0
        while begin < n_images:
            rows = slice(begin, min(n_images, begin + (self._most or n_images)))
            made = self._tried(method, rows, make)
            if made is not None:
                parts.append(made)
                begin = rows.stop
        return parts

    def _tried(self, method: Method, rows: slice, make: Callable[[slice], _T]) -> _T | None:
        """What is made of some images; None where there is no room, which is halved."""
        n_images = rows.stop - rows.start
        if n_images == 1:
            return make(rows)
        streams = capture_streams(method)
        try:
            return make(rows)
        except torch.OutOfMemoryError:
            self._most = n_images // 2
        restore_streams(streams, method)
        torch.cuda.empty_cache()
        self._reporter.say(f"batch size   {n_images} images are too many for the GPU's memory: {self._most} at a time")
        return None


def _part(batch: Batch, rows: slice) -> Batch:
    return batch if rows == slice(0, len(batch)) else batch.rows(rows)


def _joined(parts: Sequence[Any]) -> Any:
    """Scores or maps of all parts: tensors, lists, or None."""
    if parts[0] is None:
        return None
    return torch.cat(list(parts)) if isinstance(parts[0], Tensor) else [map_ for part in parts for map_ in part]
