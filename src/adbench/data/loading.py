"""Samples to batches: deterministic order, resumable in mid-epoch, with or without worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from adbench.data.episodes import ORDER, Episode
from adbench.data.image_cache import ImageCache
from adbench.data.images import stored_size
from adbench.data.items import Item, collate, load_augmented, load_item
from adbench.data.mosaic import Mosaic
from adbench.data.sample import Batch, Sample
from adbench.data.transforms import PixelTransform, SceneTransform, Transform
from adbench.errors import UserError, from_system
from adbench.interrupts import ignore_in_worker

# Streams of randomness of their own below one seed, beside those of `adbench.data.episodes`.
_ITEM, _CROP, _CHANGES = 2, 5, 7


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
            worker_init_fn=_leave_signals,
        )
        with told_of_lost_memory():
            for loaded in loader:
                if isinstance(loaded, _Fault):
                    raise loaded.error()
                yield loaded


_LESS = "give fewer of them (eval.workers=0, trainer.workers=0) or smaller batches"
# What torch says when the system has ended a loader process, or has no shared memory or open files left for it.
_DEATHS = ("DataLoader worker (pid", "shared memory", "</torch_", "ancdata", "Too many open files")


@contextlib.contextmanager
def told_of_lost_memory() -> Iterator[None]:
    """Raise UserError for a GPU without room, and for loader processes that died.

    Of these torch tells wherever the main thread happens to be.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the GPU has not enough memory: {str(error).strip().splitlines()[0]}",
            where="device",
            hint="use smaller batches (eval.batch_size, trainer.batch_size), or device=cpu",
        ) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _DEATHS):
            raise
        raise UserError(
            f"a loader process died, most likely for want of memory: {str(error).strip().splitlines()[-1]}",
            where="workers",
            hint=_LESS,
        ) from error


def _leave_signals(_worker: int) -> None:
    ignore_in_worker()


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
    with_defects: bool = False,
    as_pixels: bool = False,
    cache: ImageCache | None = None,
) -> BatchLoader:
    """Return the batches of one epoch.

    The order is a pure function of (seed, epoch), an item's mosaic of (seed, epoch, its index in `samples`): neither
    depends on `workers`, `batch_size` or `skip`. The first `skip` batches are left out without decoding them.
    `mosaic` maps data set names to the share of training images that are replaced by mosaics (`Mosaic`).
    `with_masks` says whether batches carry masks; None: if any of `samples` has one. In batches with masks, normal
    images and anomalous images without a mask file have all-zero masks; `Batch.annotated` tells them apart.
    `with_defects` adds the masks of single defects at their stored size (`Batch.defects`) to those.
    `as_pixels` leaves images as uint8 where the transform can normalise them later (`PixelTransform`). They are read
    from `cache`, where it is given: all `samples`, of the same transform, without mosaics.
    Label maps come at their own size, as they are to be evaluated (`make_episode_loader` is for training), and a batch
    without any where they are held back. With label maps or a `SceneTransform`, a batch ends where the images' size
    changes: batches may then be smaller, never mixed.
    """
    for name, value, least in (("batch_size", batch_size, 1), ("skip", skip, 0), ("workers", workers, 0)):
        if value < least:
            raise UserError(f"{name} is {value}", hint=f"give {least} or more")
    indices = np.arange(len(samples))
    if shuffle:
        indices = np.random.default_rng([seed, epoch, ORDER]).permutation(len(samples))
    stop = len(samples) - len(samples) % batch_size if drop_last else len(samples)
    batches = _Batches(
        samples=list(samples),
        transform=transform,
        episodes=_episodes(samples, indices[:stop].tolist(), batch_size, transform),
        with_masks=has_masks(samples) if with_masks is None else with_masks,
        mosaic=Mosaic(samples, mosaic) if mosaic else None,
        seed=(seed, epoch),
        with_defects=with_defects,
        as_pixels=as_pixels and isinstance(transform, PixelTransform),
        cache=cache,
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

    The other arguments mean what they mean in `make_loader`; support images are never mosaics. Images with label maps
    (`SceneTransform.augmented`) and, where the transform does that, others (`PairTransform.augmented_pair`) are
    augmented, a pure function of (seed, epoch, index). Raises UserError for label maps and a transform that cannot.
    """
    if any(sample.label_ids is not None for sample in samples) and not isinstance(transform, SceneTransform):
        raise UserError(
            "the training data hold label maps, and the method's preprocessing takes masks",
            where="data",
            hint="train a method that learns segmentation, or choose other data",
        )
    batches = _Batches(
        samples=list(samples),
        transform=transform,
        episodes=list(episodes),
        with_masks=has_masks(samples),
        mosaic=Mosaic(samples, mosaic) if mosaic else None,
        seed=(seed, epoch),
        augment=True,
    )
    return BatchLoader(batches, skip=skip, workers=workers)


def load_batch(samples: Sequence[Sample], transform: Transform, *, with_masks: bool | None = None) -> Batch:
    """Return all `samples` as one batch, in order, without augmentation (support sets, single images)."""
    with_masks = has_masks(samples) if with_masks is None else with_masks
    return collate(samples, [load_item(sample, transform, with_masks) for sample in samples])


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
        augment: bool = False,
        with_defects: bool = False,
        as_pixels: bool = False,
        cache: ImageCache | None = None,
    ) -> None:
        self.samples, self.transform, self.episodes = samples, transform, episodes
        self.with_masks, self.mosaic, self.seed, self.augment = with_masks, mosaic, seed, augment
        self.with_defects, self.as_pixels, self.cache = with_defects, as_pixels, cache

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, number: int) -> Batch | _Fault:
        try:
            return self.load(number)
        except UserError as error:
            return _Fault(error)
        except OSError as error:
            return _Fault(from_system(error))
        except MemoryError:
            return _Fault(UserError("there is not enough memory to load a batch", where="workers", hint=_LESS))

    def load(self, number: int) -> Batch:
        """Decode batch `number`."""
        episode = self.episodes[number]
        items = [self._item(index) for index in episode.queries]
        batch = collate([self.samples[index] for index in episode.queries], items)
        if not episode.support:
            return batch
        support = load_batch([self.samples[i] for i in episode.support], self.transform, with_masks=False)
        return replace(batch, support=support)

    def _item(self, index: int) -> Item:
        sample = self.samples[index]
        if self.augment and sample.label_ids is not None:
            return load_augmented(sample, self.transform, np.random.default_rng([*self.seed, _CROP, index]))
        parts = None
        if self.mosaic is not None:
            parts = self.mosaic.draw(sample, np.random.default_rng([*self.seed, _ITEM, index]))
        changes = np.random.default_rng([*self.seed, _CHANGES, index]) if self.augment else None
        if self.cache is not None:
            item = self.cache.item(sample, with_masks=self.with_masks, with_defects=self.with_defects)
            if not self.as_pixels and isinstance(self.transform, PixelTransform):
                item = replace(item, image=self.transform.normalised(item.image))
            return item
        flags = {"with_defects": self.with_defects, "as_pixels": self.as_pixels}
        return load_item(sample, self.transform, self.with_masks, parts, changes, **flags)


class _Fault:
    """A UserError on its way from a worker: torch would re-raise it with the worker's traceback as its text."""

    def __init__(self, error: UserError) -> None:
        self.what, self.where, self.hint = error.what, error.where, error.hint

    def error(self) -> UserError:
        """The error as the worker raised it."""
        return UserError(self.what, where=self.where, hint=self.hint)


def _as_it_is(batch: Any) -> Any:
    return batch


def _episodes(samples: Sequence[Sample], order: list[int], batch_size: int, transform: Transform) -> list[Episode]:
    """Cut the order into batches; where images keep their own size, also between images of different sizes."""
    if not any(sample.label_ids is not None for sample in samples) and not isinstance(transform, SceneTransform):
        return [Episode(tuple(order[i : i + batch_size])) for i in range(0, len(order), batch_size)]
    groups: list[list[int]] = []
    kind = None
    for index in order:
        sample = samples[index]
        held_back = sample.label_ids is not None and sample.mask_path is None
        size = (stored_size(sample.path, sample.reading), held_back)
        if size != kind or len(groups[-1]) == batch_size:
            groups.append([])
        groups[-1].append(index)
        kind = size
    return [Episode(tuple(group)) for group in groups]
