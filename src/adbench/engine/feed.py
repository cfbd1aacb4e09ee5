"""What a training step is fed with: a batch, with its features where they are kept from earlier epochs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from adbench.data.episodes import Episode, EpisodePlan
from adbench.data.loading import load_batch, make_episode_loader
from adbench.data.sample import Batch, Sample
from adbench.engine.device import autocast
from adbench.engine.settings import TrainSettings
from adbench.errors import UserError
from adbench.methods.base import Features, Method, beside


def check_shots(method: Method, settings: TrainSettings) -> None:
    """Raise UserError where a method that learns in context is given no normal images to learn with."""
    if method.in_context and not settings.shots:
        raise UserError(
            f"method {method.name} learns from normal images given with every query, and K is 0",
            where="support.k",
            mend="give support.k=2",
        )


class Feed:
    """Batches of a training, as `EpisodePlan` lays them out.

    Where the method's features suffice and nothing changes images between epochs, every image is loaded and encoded
    once (`FeatureStore`); batches then come without images. Close it at the end: it holds memory and disk space.
    """

    def __init__(
        self,
        method: Method,
        samples: Sequence[Sample],
        settings: TrainSettings,
        *,
        device: torch.device,
        folder: Path,
    ) -> None:
        self._method, self._samples, self._settings, self._device = method, samples, settings, device
        self.plan = EpisodePlan(
            samples,
            batch_size=settings.batch_size,
            seed=settings.seed,
            sampler=settings.sampler,
            steps_per_epoch=settings.steps_per_epoch,
            shots=settings.shots if method.in_context else 0,
            exclude_query=settings.exclude_query,
        )
        keep = method.features_suffice and settings.cache_mib > 0 and not any(settings.mosaic.values())
        self._store = FeatureStore(method, samples, settings, device=device, folder=folder) if keep else None

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[tuple[Batch, Features | None]]:
        """The batches of an epoch after the first `skip`, on the device; features are None where to be computed."""
        episodes = self.plan.batches(epoch)
        if self._store is not None:
            for episode in episodes[skip:]:
                yield self._batch(episode), self._store.episode(episode)
            return
        settings = self._settings
        loader = make_episode_loader(
            self._samples,
            self._method.transform,
            episodes,
            seed=settings.seed,
            epoch=epoch,
            skip=skip,
            workers=settings.workers,
            mosaic=settings.mosaic,
        )
        for batch in loader:
            yield batch.to(self._device), None

    def close(self) -> None:
        """Drop the kept features."""
        if self._store is not None:
            self._store.close()

    def _batch(self, episode: Episode) -> Batch:
        samples = [self._samples[index] for index in episode.queries]
        return Batch(
            images=torch.empty(len(samples), 0, device=self._device),
            labels=torch.tensor([sample.label for sample in samples], dtype=torch.int64, device=self._device),
            class_names=[sample.class_name for sample in samples],
            paths=[sample.key for sample in samples],
            dataset="+".join(dict.fromkeys(sample.dataset for sample in samples)),
        )


class FeatureStore:
    """Frozen features of the training images, encoded when they are first asked for.

    Images are encoded in fixed blocks of neighbours, so that the values, rounding included, do not depend on what was
    asked for before: a training that was stopped and goes on sees the same ones.
    """

    def __init__(
        self, method: Method, samples: Sequence[Sample], settings: TrainSettings, *, device: torch.device, folder: Path
    ) -> None:
        self._method, self._samples, self._device = method, samples, device
        self._amp, self._block = settings.amp, settings.batch_size
        self._memory_limit, self._folder = settings.cache_mib << 20, folder
        self._tables: dict[str, Tensor] = {}
        self._done = [False] * -(-len(samples) // self._block)

    def episode(self, episode: Episode) -> Features:
        """Features of the queries, and of their support beside them."""
        queries = self._rows(episode.queries)
        return beside(queries, self._rows(episode.support)) if episode.support else queries

    def close(self) -> None:
        """Release memory and disk space."""
        self._tables = {}
        self._done = [False] * len(self._done)

    def _rows(self, indices: Sequence[int]) -> Features:
        for number in sorted({index // self._block for index in indices}):
            if not self._done[number]:
                self._encode(number)
        picked = torch.tensor(indices)
        return {name: table[picked].to(self._device, non_blocking=True) for name, table in self._tables.items()}

    def _encode(self, number: int) -> None:
        start = number * self._block
        part = self._samples[start : start + self._block]
        batch = load_batch(part, self._method.transform, with_masks=False).to(self._device)
        with torch.no_grad(), autocast(self._amp, self._device):
            found = self._method.encode(batch)
        if not self._tables:
            self._allocate(found)
        for name, values in found.items():
            self._tables[name][start : start + len(part)] = values.cpu()
        self._done[number] = True

    def _allocate(self, found: Features) -> None:
        n = len(self._samples)
        shapes = {name: (n, *values.shape[1:]) for name, values in found.items()}
        n_bytes = sum(values[0].numel() * values.element_size() * n for values in found.values())
        if n_bytes <= self._memory_limit:
            self._tables = {name: torch.empty(shapes[name], dtype=values.dtype) for name, values in found.items()}
            return
        for name, values in found.items():
            # Unlinked as soon as it is mapped: however the process ends, the space is free again.
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".features-") as file:
                size = values[0].numel() * n
                table = torch.from_file(file.name, shared=True, size=size, dtype=values.dtype)
            self._tables[name] = table.reshape(shapes[name])
