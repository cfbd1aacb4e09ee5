"""Samples to batches, in an order that is given, with or without worker processes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch.utils.data import Dataset

from adbench.data.episodes import Episode
from adbench.data.image_cache import ImageCache, ImageCaches
from adbench.data.images import stored_size
from adbench.data.items import Item, collate, load_augmented, load_item
from adbench.data.mosaic import Mosaic
from adbench.data.sample import Batch, Sample
from adbench.data.transforms import PixelTransform, SceneTransform, Transform
from adbench.data.worker_processes import SentError, faultless, from_workers
from adbench.errors import UserError

# Streams of randomness of their own below one seed, beside those of `adbench.data.episodes`.
_CROP, _CHANGES = 5, 7


class BatchLoader:
    """Iterable of batches with a length; each iteration yields the same batches again. Made by `make_loader`."""

    def __init__(self, batches: _Batches, *, workers: int, pinned: bool = False) -> None:
        self._batches, self._workers, self._pinned = batches, workers, pinned

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order. Raises UserError for a broken image or mask, also when a worker met it."""
        (batches,) = in_turn([self])
        return batches


def in_turn(loaders: Sequence[BatchLoader]) -> Iterator[Iterator[Batch]]:
    """The batches of each loader, from processes that are started once for all of them; take all of one, then the next.

    While the last batches of a loader are used, the first of the next one are made. All have as many workers.
    """
    if not loaders or loaders[0]._workers == 0:
        for loader in loaders:
            loaded = map(loader._batches.__getitem__, range(len(loader)))
            yield (batch.pin_memory() for batch in loaded) if loader._pinned else loaded
        return
    stream = from_workers(
        _Several([loader._batches for loader in loaders]),
        [(part, number) for part, loader in enumerate(loaders) for number in range(len(loader))],
        workers=loaders[0]._workers,
        pinned=loaders[0]._pinned,
    )
    for loader in loaders:
        yield itertools.islice(stream, len(loader))


def make_loader(
    samples: Sequence[Sample],
    transform: Transform,
    *,
    batch_size: int,
    workers: int = 0,
    with_masks: bool | None = None,
    with_defects: bool = False,
    as_pixels: bool = False,
    cache: ImageCache | None = None,
    pinned: bool = False,
) -> BatchLoader:
    """Return all `samples` in their order, to be scored.

    `with_masks` says whether batches carry masks; None: if any of `samples` has one. In batches with masks, normal
    images and anomalous images without a mask file have all-zero masks; `Batch.annotated` tells them apart.
    `with_defects` adds the masks of single defects at their stored size (`Batch.defects`) to those.
    `as_pixels` leaves images as uint8 where the transform can normalise them later (`PixelTransform`). They are read
    from `cache`, where it is given: all `samples`, of the same transform. `pinned` batches lie in
    memory that a GPU reads by itself.
    Label maps come at their own size, as they are to be evaluated (`make_episode_loader` is for training), and a batch
    without any where they are held back. With label maps or a `SceneTransform`, a batch ends where the images' size
    changes: batches may then be smaller, never mixed.
    """
    for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0)):
        if value < least:
            raise UserError(f"{name} is {value}", hint=f"give {least} or more")
    batches = _Batches(
        samples=list(samples),
        transform=transform,
        episodes=_in_order(samples, batch_size, transform),
        with_masks=has_masks(samples) if with_masks is None else with_masks,
        with_defects=with_defects,
        as_pixels=as_pixels and isinstance(transform, PixelTransform),
        cache=cache,
    )
    return BatchLoader(batches, workers=workers, pinned=pinned)


def make_episode_loader(
    samples: Sequence[Sample],
    transform: Transform,
    episodes: Sequence[Episode],
    *,
    seed: int = 0,
    epoch: int = 0,
    workers: int = 0,
    mosaic: Mapping[str, float] | None = None,
    as_pixels: bool = False,
    pinned: bool = False,
    cache: ImageCaches | None = None,
) -> BatchLoader:
    """Return the batches that `episodes` (see `EpisodePlan`) name, with their support where they have any.

    `mosaic` maps data set names to the share of queries that are replaced by mosaics (`Mosaic`). Images with label maps
    (`SceneTransform.augmented`) and, where the transform does that, others (`PairTransform.augmented_pair`) are
    augmented. Both are pure functions of (seed, epoch, index in `samples`). `workers`, `pinned` and `as_pixels` (not of
    what is augmented, nor of support) are those of `make_loader`. Images are read from `cache`, where it is given: all
    `samples`, of a transform that draws nothing. Raises UserError for label maps and a transform that cannot.
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
        mosaic=Mosaic(samples, mosaic, (seed, epoch)) if mosaic else None,
        seed=(seed, epoch),
        augment=True,
        as_pixels=as_pixels and isinstance(transform, PixelTransform),
        cache=cache,
    )
    return BatchLoader(batches, workers=workers, pinned=pinned)


def load_batch(samples: Sequence[Sample], transform: Transform, *, with_masks: bool | None = None) -> Batch:
    """Return all `samples` as one batch, in order, without augmentation (support sets, single images)."""
    with_masks = has_masks(samples) if with_masks is None else with_masks
    return collate(samples, [load_item(sample, transform, with_masks) for sample in samples])


def has_masks(samples: Sequence[Sample]) -> bool:
    """Whether any of the samples has a pixel annotation."""
    return any(sample.mask_path is not None for sample in samples)


class _Batches:
    """Batch number -> batch."""

    def __init__(
        self,
        *,
        samples: list[Sample],
        transform: Transform,
        episodes: list[Episode],
        with_masks: bool,
        mosaic: Mosaic | None = None,
        seed: tuple[int, int] = (0, 0),
        augment: bool = False,
        with_defects: bool = False,
        as_pixels: bool = False,
        cache: ImageCache | ImageCaches | None = None,
    ) -> None:
        self.samples, self.transform, self.episodes = samples, transform, episodes
        self.with_masks, self.mosaic, self.seed, self.augment = with_masks, mosaic, seed, augment
        self.with_defects, self.as_pixels, self.cache = with_defects, as_pixels, cache

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, number: int) -> Batch:
        """Decode batch `number`."""
        episode = self.episodes[number]
        items = [self._item(index) for index in episode.queries]
        batch = collate([self.samples[index] for index in episode.queries], items)
        if not episode.support:
            return batch
        normal = [self.samples[index] for index in episode.support]
        if self.cache is None:
            return replace(batch, support=load_batch(normal, self.transform, with_masks=False))
        items = [self._normalised(self.cache.item(sample, with_masks=False)) for sample in normal]
        return replace(batch, support=collate(normal, items))

    def _item(self, index: int) -> Item:
        sample = self.samples[index]
        if self.augment and sample.label_ids is not None:
            return load_augmented(sample, self.transform, np.random.default_rng([*self.seed, _CROP, index]))
        parts = None if self.mosaic is None else self.mosaic.draw(index)
        changes = np.random.default_rng([*self.seed, _CHANGES, index]) if self.augment else None
        if self.cache is not None:
            item = self.cache.item(sample, with_masks=self.with_masks, with_defects=self.with_defects)
            return item if self.as_pixels else self._normalised(item)
        flags = {"with_defects": self.with_defects, "as_pixels": self.as_pixels}
        return load_item(sample, self.transform, self.with_masks, parts, changes, **flags)

    def _normalised(self, item: Item) -> Item:
        """An item of a cache, as the transform leaves it."""
        transform = self.transform
        return replace(item, image=transform.normalised(item.image)) if isinstance(transform, PixelTransform) else item


class _Several(Dataset["Batch | SentError"]):
    """(part, batch number) -> batch, as a map-style data set: one worker makes one whole batch."""

    def __init__(self, parts: list[_Batches]) -> None:
        self._parts = parts

    def __getitem__(self, place: tuple[int, int]) -> Batch | SentError:
        part, number = place
        return faultless(lambda: self._parts[part][number])


def _in_order(samples: Sequence[Sample], batch_size: int, transform: Transform) -> list[Episode]:
    """Cut the samples into batches; where images keep their own size, also between images of different sizes."""
    if not any(sample.label_ids is not None for sample in samples) and not isinstance(transform, SceneTransform):
        return [Episode(tuple(range(len(samples))[i : i + batch_size])) for i in range(0, len(samples), batch_size)]
    groups: list[list[int]] = []
    kind = None
    for index, sample in enumerate(samples):
        held_back = sample.label_ids is not None and sample.mask_path is None
        size = (stored_size(sample.path, sample.reading), held_back)
        if size != kind or len(groups[-1]) == batch_size:
            groups.append([])
        groups[-1].append(index)
        kind = size
    return [Episode(tuple(group)) for group in groups]
