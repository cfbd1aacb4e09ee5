"""A streaming multiset of scores that answers one question: how many lie above a threshold, how many at or above it.

Scores are kept as sorted shards. Counts of shards add up, so nothing is ever merged and a shard may lie on disk:

    TEMPORARY FOLDER/adbench-metrics-*/N.npy    removed with the last accumulator that uses them
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adbench.errors import UserError
from adbench.metrics.inputs import Scores

SHARD_BYTES = 1 << 31  # large: each shard is searched for every threshold
SMALLEST_SHARD_BYTES = 1 << 16
_SLICE = 1 << 16  # scores searched at a time: they stay in the processor's cache


class Stored(NamedTuple):
    """An array in memory, or a file of it and the folder that goes when nobody needs it any more."""

    array: NDArray[Any] | None
    path: Path = Path()
    folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def n_bytes(self) -> int:
        """What it takes in memory."""
        return 0 if self.array is None else self.array.nbytes

    def read(self) -> NDArray[Any]:
        """The array; one on disk is mapped anew each time, so that it is resident only while in use."""
        array: NDArray[Any] = np.load(self.path, mmap_mode="r") if self.array is None else self.array
        return array

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (np.asarray(self.read()),)  # another process has no part in the folder


def spilled(arrays: Sequence[Stored], prefix: str, memory_limit: int) -> list[Stored]:
    """All arrays as files, those in memory in a new temporary folder. Raises UserError where they cannot be written."""
    stored = []
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
        for number, array in enumerate(arrays):
            path = Path(folder.name) / f"{number}.npy"
            if array.array is not None:
                np.save(path, array.array)
            stored.append(array if array.array is None else Stored(None, path, folder))
    except OSError as error:
        raise UserError(
            f"cannot write scores to disk: {error}",
            where=f"memory_limit={memory_limit}, {tempfile.gettempdir()}",
            hint="name a folder with room in $TMPDIR, choose a larger memory_limit, or mode='constant'",
        ) from error
    return stored


class ScoreStore:
    """Scores in memory up to `memory_limit` bytes, beyond that in a temporary folder."""

    def __init__(self, memory_limit: int) -> None:
        self.memory_limit = memory_limit
        self.size = 0
        self._shard_bytes = max(min(SHARD_BYTES, memory_limit // 2), SMALLEST_SHARD_BYTES)
        self._shards: list[Stored] = []
        # The next shard. Allocated whole, but memory that was never written to takes no room
        self._buffer: Scores = np.empty(0, np.float32)
        self._filled = self._in_order = 0  # scores in the buffer, and how many of these were there when it was sorted

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_buffer": self._buffer[: self._filled]}

    def add(self, scores: Scores) -> None:
        """Add scores (N,); they are copied."""
        self.size += len(scores)
        while len(scores):
            if self._filled == len(self._buffer) or np.result_type(scores, self._buffer) != self._buffer.dtype:
                self._seal()
                dtype = np.result_type(scores, self._buffer)  # once float64, always float64
                self._buffer = np.empty(self._shard_bytes // dtype.itemsize, dtype)
            taken = scores[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            scores = scores[len(taken) :]

    def merge(self, other: ScoreStore) -> None:
        """Add the scores of `other`, which stays as it is; its shards are shared, not copied."""
        shards = list(other._shards)
        size = other.size - other._filled
        self.add(other._buffer[: other._filled].copy())
        self.size += size
        self._shards += shards
        self._keep_below_limit()

    def count(self, thresholds: Scores) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many scores lie strictly above each threshold, and how many at or above it.

        Many thresholds are counted fastest in falling order.
        """
        above = np.full(len(thresholds), self.size, np.int64)
        at_or_above = above.copy()
        for scores in self._sorted():
            below = _n_below(scores, thresholds)
            at_or_above -= below
            # a second search only where the shard holds the threshold more than once: rare unless scores repeat
            final = len(scores) - 1
            equal = np.flatnonzero(scores[np.minimum(below, final)] == thresholds)
            below[equal] += 1
            again = equal[scores[np.minimum(below[equal], final)] == thresholds[equal]]
            below[again] = np.searchsorted(scores, thresholds[again], "right")
            above -= below
        return above, at_or_above

    def slices(self, size: int) -> Iterator[Scores]:
        """Yield all scores, at most `size` at a time."""
        for scores in self._sorted():
            yield from (scores[start : start + size] for start in range(0, len(scores), size))

    def span(self) -> tuple[float, float]:
        """Return the lowest and the highest score; (inf, -inf) if there is none."""
        ends = [(float(scores[0]), float(scores[-1])) for scores in self._sorted()]
        return min((low for low, _ in ends), default=np.inf), max((high for _, high in ends), default=-np.inf)

    def dtype(self) -> np.dtype[Any]:
        """Return float32, or float64 if any score needs it."""
        return np.result_type(np.float32, *(s.dtype for s in self._sorted()))

    def top(self, n: int) -> Scores:
        """Return the `n` highest scores, or all there are, rising."""
        highest = [scores[max(0, len(scores) - n) :] for scores in self._sorted()]
        scores = np.sort(np.concatenate(highest)) if highest else np.zeros(0, np.float32)
        return scores[max(0, len(scores) - n) :]

    def _sorted(self) -> Iterator[Scores]:
        yield from (shard.read() for shard in self._shards)
        if self._filled:
            yield self._sorted_buffer()

    def _sorted_buffer(self) -> Scores:
        filled = self._buffer[: self._filled]
        if self._in_order != self._filled:
            filled.sort()
            self._in_order = self._filled
        return filled

    def _seal(self) -> None:
        """Turn the buffer into a sorted shard."""
        if self._filled:
            self._shards.append(Stored(self._sorted_buffer()))
            self._buffer, self._filled, self._in_order = np.empty(0, self._buffer.dtype), 0, 0
            self._keep_below_limit()

    def _keep_below_limit(self) -> None:
        resident = sum(shard.n_bytes for shard in self._shards)
        if resident and resident + self._shard_bytes > self.memory_limit:
            self._shards = spilled(self._shards, "adbench-metrics-", self.memory_limit)


def _n_below(scores: Scores, thresholds: Scores) -> NDArray[np.int64]:
    """How many of the sorted `scores` lie below each threshold: `np.searchsorted`, slice by slice for falling ones.

    A search of the whole shard starts far from where the one before it ended: twice to three times the time.
    """
    if len(scores) <= _SLICE or len(thresholds) < len(scores) // _SLICE or np.any(thresholds[1:] > thresholds[:-1]):
        return np.searchsorted(scores, thresholds, "left")
    rising = thresholds[::-1]
    below = np.empty(len(rising), np.int64)
    starts = range(0, len(scores), _SLICE)
    cuts = [0, *np.searchsorted(rising, scores[_SLICE - 1 : -1 : _SLICE], "right").tolist(), len(rising)]
    for start, first, last in zip(starts, cuts[:-1], cuts[1:], strict=True):
        if first < last:
            below[first:last] = np.searchsorted(scores[start : start + _SLICE], rising[first:last], "left")
            below[first:last] += start
    return below[::-1]
