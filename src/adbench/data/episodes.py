"""Which images a training step sees: queries, and for in-context methods the normal images given with each of them.

A pure function of seed, epoch and number of the batch. So training resumes anywhere, whatever loads the images.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adbench.data.sample import Sample
from adbench.errors import UserError

Sampler = Literal["shuffle", "balanced"]

# Separate streams of randomness below one seed: numpy's seed sequences treat [s, e] and [s, e, 0] as equal.
_ORDER, _SUPPORT, _STREAM = 1, 3, 4


@dataclass(frozen=True, slots=True)
class Episode:
    """Indices of one step's samples: queries, and `shots` support images per query, query-major."""

    queries: tuple[int, ...]
    support: tuple[int, ...] = ()

    def part(self, rows: slice) -> Episode:
        """Some of the queries, with their support."""
        shots = len(self.support) // max(len(self.queries), 1)
        return Episode(self.queries[rows], self.support[rows.start * shots : rows.stop * shots])


class EpisodePlan:
    """The batches of a training.

    sampler          "shuffle": every sample once per epoch. "balanced": half normal images, then anomalous ones, from
                     two endless streams that walk a fresh permutation whenever they are exhausted, across epochs too
    steps_per_epoch  batches per epoch; None: as many as it takes to see all samples once
    shots            support images per query: different normal images of its class and data set, drawn anew every time
    exclude_query    a normal query is never its own support (the authors of InCTRL do not exclude it)
    Raises UserError where a class has too few normal images, and where "balanced" lacks a label.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        batch_size: int,
        seed: int,
        sampler: Sampler = "shuffle",
        steps_per_epoch: int | None = None,
        shots: int = 0,
        exclude_query: bool = True,
    ) -> None:
        self._samples, self._seed, self._sampler = samples, seed, sampler
        self._batch_size, self._shots, self._exclude = batch_size, shots, exclude_query
        all_seen = math.ceil(len(samples) / batch_size)
        self.n_batches = all_seen if steps_per_epoch is None else steps_per_epoch
        if sampler == "shuffle":
            self.n_batches = min(self.n_batches, all_seen)
        labels = np.array([sample.label for sample in samples])
        self._streams = [np.flatnonzero(labels == label) for label in (0, 1)]
        if sampler == "balanced" and not all(map(len, self._streams)):
            missing = "normal" if not len(self._streams[0]) else "anomalous"
            raise UserError(
                f"the training data hold no {missing} images, and every batch is to hold both kinds",
                where="trainer.sampler=balanced",
                hint="add such data, or use trainer.sampler=shuffle",
            )
        self._pools: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index in self._streams[0].tolist():
            self._pools[_group(samples[index])].append(index)
        if shots:
            self._check_pools()

    def _check_pools(self) -> None:
        labels: dict[tuple[str, str], set[int]] = defaultdict(set)
        for sample in self._samples:
            labels[_group(sample)].add(sample.label)
        for group, kinds in labels.items():
            n_pool = len(self._pools[group])
            others = n_pool - int(self._exclude and 0 in kinds)
            if others < self._shots:
                raise UserError(
                    f"class {group[1]} of {group[0]} has {n_pool} normal images to train with, every query needs "
                    f"{self._shots} others",
                    where=f"support.k={self._shots}",
                    hint="choose a smaller K, add normal images, or leave the class out",
                )

    def batches(self, epoch: int) -> list[Episode]:
        """All batches of an epoch, in order."""
        if self._sampler == "shuffle":
            order = np.random.default_rng([self._seed, epoch, _ORDER]).permutation(len(self._samples)).tolist()
            parts = [order[i : i + self._batch_size] for i in range(0, len(order), self._batch_size)]
        else:
            parts = [self._balanced(epoch * self.n_batches + number) for number in range(self.n_batches)]
        return [self._episode(part, epoch, number) for number, part in enumerate(parts[: self.n_batches])]

    def _balanced(self, step: int) -> list[int]:
        n_normal = self._batch_size // 2
        counts = (n_normal, self._batch_size - n_normal)
        return [
            index
            for label, count in enumerate(counts)
            for index in self._from_stream(label, step * count, (step + 1) * count)
        ]

    def _from_stream(self, label: int, start: int, stop: int) -> list[int]:
        """Positions start to stop - 1 of the endless stream of a label."""
        members, drawn = self._streams[label], []
        for cycle in range(start // len(members), (stop - 1) // len(members) + 1):
            walk = np.random.default_rng([self._seed, cycle, _STREAM, label]).permutation(members)
            first = cycle * len(members)
            drawn += walk[max(start - first, 0) : stop - first].tolist()
        return drawn

    def _episode(self, queries: list[int], epoch: int, number: int) -> Episode:
        support: list[int] = []
        if self._shots:
            random = np.random.default_rng([self._seed, epoch, _SUPPORT, number])
            for query in queries:
                pool = self._pools[_group(self._samples[query])]
                others = [index for index in pool if index != query] if self._exclude else pool
                support += random.choice(others, self._shots, replace=False).tolist()
        return Episode(tuple(queries), tuple(support))


def _group(sample: Sample) -> tuple[str, str]:
    return sample.dataset, sample.class_name
