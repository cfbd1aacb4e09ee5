"""Samples to batches: deterministic order, resumable in mid-epoch, with or without worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adbench.data.episodes import ORDER, Episode
from adbench.data.images import open_image, open_mask
from adbench.data.mosaic import Mosaic, paste
from adbench.data.sample import Batch, Sample
from adbench.data.transforms import Transform
from adbench.errors import UserError

# A stream of randomness of its own below one seed, beside those of `adbench.data.episodes`.
_ITEM = 2


class BatchLoader:
    """Iterable of batches with a length; each iteration yields the same batches again. Made by `make_loader`."""

    def __init__(self, batches: _Batches, *, skip: int, workers: int) -> None:
        self._batches, self._skip, self._workers = batches, skip, workers

    def __len__(self) -> int:
        """Number of batches still to come after the skipped ones."""
        return max(0, len(self._batches) - self._skip)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order. Raises UserError for a broken image or mask, also when a worker met it."""
        numbers = range(self._skip, len(self._batches))
        if self._workers == 0:
            yield from map(self._batches.load, numbers)
            return
        # A generator of its own, so that starting workers draws nothing from torch's global one (exact resume).
        loader: DataLoader[Batch | _Fault] = DataLoader(
            self._batches,
            batch_size=None,
            sampler=numbers,
            num_workers=self._workers,
            collate_fn=_as_it_is,
            generator=torch.Generator().manual_seed(0),
        )
        for loaded in loader:
            if isinstance(loaded, _Fault):
                raise loaded.error()
            yield loaded


def make_loader(
    samples: Sequence[Sample],
    transform: Transform,
    *,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    skip: int = 0,
    workers: int = 0,
    mosaic: Mapping[str, float] | None = None,
    drop_last: bool = False,
    with_masks: bool | None = None,
) -> BatchLoader:
    """Return the batches of one epoch.

    The order is a pure function of (seed, epoch), an item's mosaic of (seed, epoch, its index in `samples`): neither
    depends on `workers`, `batch_size` or `skip`. The first `skip` batches are left out without decoding them.
    `mosaic` maps data set names to the share of training images that are replaced by mosaics (`Mosaic`).
    `with_masks` says whether batches carry masks; None: if any of `samples` has one. In batches with masks, normal
    images and anomalous images without a mask file have all-zero masks.
    """
    for name, value, least in (("batch_size", batch_size, 1), ("skip", skip, 0), ("workers", workers, 0)):
        if value < least:
            raise UserError(f"{name} is {value}", mend=f"give {least} or more")
    indices = np.arange(len(samples))
    if shuffle:
        indices = np.random.default_rng([seed, epoch, ORDER]).permutation(len(samples))
    stop = len(samples) - len(samples) % batch_size if drop_last else len(samples)
    batches = _Batches(
        samples=list(samples),
        transform=transform,
        episodes=[Episode(tuple(indices[i : i + batch_size].tolist())) for i in range(0, stop, batch_size)],
        with_masks=has_masks(samples) if with_masks is None else with_masks,
        mosaic=Mosaic(samples, mosaic) if mosaic else None,
        seed=(seed, epoch),
    )
    return BatchLoader(batches, skip=skip, workers=workers)


def make_episode_loader(
    samples: Sequence[Sample],
    transform: Transform,
    episodes: Sequence[Episode],
    *,
    seed: int = 0,
    epoch: int = 0,
    skip: int = 0,
    workers: int = 0,
    mosaic: Mapping[str, float] | None = None,
) -> BatchLoader:
    """Return the batches that `episodes` (see `EpisodePlan`) name, with their support where they have any.

    The other arguments mean what they mean in `make_loader`; support images are never mosaics.
    """
    batches = _Batches(
        samples=list(samples),
        transform=transform,
        episodes=list(episodes),
        with_masks=has_masks(samples),
        mosaic=Mosaic(samples, mosaic) if mosaic else None,
        seed=(seed, epoch),
    )
    return BatchLoader(batches, skip=skip, workers=workers)


def load_batch(samples: Sequence[Sample], transform: Transform, *, with_masks: bool | None = None) -> Batch:
    """Return all `samples` as one batch, in order, without augmentation (support sets, single images)."""
    with_masks = has_masks(samples) if with_masks is None else with_masks
    return _collate(samples, [_load(sample, transform, with_masks, None) for sample in samples], with_masks)


def has_masks(samples: Sequence[Sample]) -> bool:
    """Whether any of the samples has a pixel annotation."""
    return any(sample.mask_path is not None for sample in samples)


class _Batches(Dataset["Batch | _Fault"]):
    """Batch number -> batch, as a map-style data set: one worker makes one whole batch."""

    def __init__(
        self,
        *,
        samples: list[Sample],
        transform: Transform,
        episodes: list[Episode],
        with_masks: bool,
        mosaic: Mosaic | None,
        seed: tuple[int, int],
    ) -> None:
        self.samples, self.transform, self.episodes = samples, transform, episodes
        self.with_masks, self.mosaic, self.seed = with_masks, mosaic, seed

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, number: int) -> Batch | _Fault:
        try:
            return self.load(number)
        except UserError as error:
            return _Fault(error)

    def load(self, number: int) -> Batch:
        """Decode batch `number`."""
        episode = self.episodes[number]
        items = []
        for index in episode.queries:
            parts = None
            if self.mosaic is not None:
                random = np.random.default_rng([*self.seed, _ITEM, index])
                parts = self.mosaic.draw(self.samples[index], random)
            items.append(_load(self.samples[index], self.transform, self.with_masks, parts))
        batch = _collate([self.samples[index] for index in episode.queries], items, self.with_masks)
        if not episode.support:
            return batch
        support = load_batch([self.samples[i] for i in episode.support], self.transform, with_masks=False)
        return replace(batch, support=support)


class _Fault:
    """A UserError on its way from a worker: torch would re-raise it with the worker's traceback as its text."""

    def __init__(self, error: UserError) -> None:
        self.what, self.where, self.mend = error.what, error.where, error.mend

    def error(self) -> UserError:
        """The error as the worker raised it."""
        return UserError(self.what, where=self.where, mend=self.mend)


def _as_it_is(batch: Any) -> Any:
    return batch


def _load(
    sample: Sample, transform: Transform, with_masks: bool, parts: list[Sample] | None
) -> tuple[Tensor, Tensor | None]:
    mask: Image.Image | None
    if parts is not None:
        image, mask = paste(parts)
    else:
        image = open_image(sample.path)
        mask = open_mask(sample, image.size) if with_masks else None
    try:
        return transform.image(image), transform.mask(mask) if with_masks and mask is not None else None
    except (OSError, ValueError) as error:
        raise UserError(
            f"image cannot be prepared: {error}", where=str(sample.path), mend="replace the file"
        ) from error


def _collate(samples: Sequence[Sample], items: list[tuple[Tensor, Tensor | None]], with_masks: bool) -> Batch:
    if not samples:
        raise UserError("no images to load", mend="give at least one sample")
    return Batch(
        images=torch.stack([image for image, _ in items]),  # (B, 3, H, W)
        labels=torch.tensor([sample.label for sample in samples], dtype=torch.int64),
        class_names=[sample.class_name for sample in samples],
        paths=[sample.key for sample in samples],
        dataset="+".join(dict.fromkeys(sample.dataset for sample in samples)),
        masks=torch.stack(cast("list[Tensor]", [mask for _, mask in items])) if with_masks else None,  # (B, H', W')
    )
