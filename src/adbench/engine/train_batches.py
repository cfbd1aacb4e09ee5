"""What a training step is fed with: a batch, with its features where they are kept from earlier epochs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from adbench.data.episodes import Episode, EpisodePlan
from adbench.data.loading import make_episode_loader
from adbench.data.mosaic import Mosaic
from adbench.data.sample import Batch, Sample
from adbench.data.transforms import PairTransform
from adbench.engine import ranks
from adbench.engine.auto_sizes import n_workers
from adbench.engine.device import on_device, sent
from adbench.engine.feature_cache import FeatureCache
from adbench.engine.image_caches import training_images
from adbench.engine.progress import Reporter
from adbench.engine.rng import draws_in_order
from adbench.engine.settings import TrainSettings
from adbench.errors import UserError, unknown
from adbench.methods.base import Features, Method, beside

# A stream of randomness of its own below the seed, beside those of `adbench.data`.
_METHOD = 6


def check_supervision(method: Method, data: Mapping[str, str]) -> None:
    """Raise UserError where data sets (name -> supervision) do not hold what the method learns from."""
    gives = {"anomaly": "labels and masks of anomalies", "segmentation": "label maps of classes"}
    for name, supervision in data.items():
        if method.supervision in gives and supervision != method.supervision:
            holds = gives.get(supervision)
            raise UserError(
                f"method {method.name} learns from {gives[method.supervision]}, and data set {name} "
                + (f"holds {holds}" if holds else "is for evaluation only"),
                where="data",
                hint="choose a data set to train on that fits (see datasets.md), or another method",
            )


def check_ranks(method: Method) -> None:
    """Raise UserError where several ranks are to share what draws from one stream, image after image."""
    if ranks.count() > 1 and draws_in_order(method):
        raise UserError(
            f"method {method.name} draws random numbers from one stream for all images, which processes cannot share",
            where="method.kmeans_stream=running",
            hint="use method.kmeans_stream=image, or one process",
        )


def check_shots(method: Method, settings: TrainSettings) -> None:
    """Raise UserError where a method that learns in context gets no normal images, or one that takes none gets some."""
    if settings.shots and not (method.in_context or method.adapts):
        raise UserError(
            f"method {method.name} takes no support images",
            where=f"support.k={settings.shots}",
            hint="leave out support.k",
        )
    if method.in_context and not settings.shots:
        raise UserError(
            f"method {method.name} learns from normal images given with every query, and K is 0",
            where="support.k",
            hint="give support.k=2",
        )


def check_stages(method: Method, settings: TrainSettings) -> None:
    """Raise UserError for settings of a stage that the method's training does not have."""
    known = {*type(method).training_stages, *method.training_stages}
    for stage in settings.stages:
        if stage not in known:
            raise unknown(f"stage of {method.name}", stage, known, where=f"trainer.stages.{stage}")


class TrainBatches:
    """Batches of a training, as `EpisodePlan` lays them out.

    Where nothing changes images between epochs, every image is encoded once (`FeatureCache`, settings.cache) by methods
    whose features suffice, which batches then come with alone, and by those that keep them beside the images: these
    encode batches with mosaics anew. Close it at the end: it holds memory.
    """

    def __init__(
        self,
        method: Method,
        samples: Sequence[Sample],
        settings: TrainSettings,
        *,
        device: torch.device,
        reporter: Reporter,
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
        self._cache: FeatureCache | None = None
        if _keeps(method, settings, {sample.dataset for sample in samples}, reporter):
            cache = FeatureCache(method, samples, settings, device=device, reporter=reporter)
            self._cache = cache if cache.fits else None
        needed = self._cache is None or not method.features_suffice
        self._images = training_images(method, samples, settings, reporter, device) if needed else None

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[tuple[int, Batch | None, Features | None]]:
        """The batches of an epoch after the first `skip`: number of images, batch on the device, features.

        Features are None where to be computed. Of several ranks each gets its share of every batch; None where it has
        none.
        """
        episodes = self.plan.batches(epoch)[skip:]
        shares = [episode.part(ranks.slice_of(len(episode.queries))) for episode in episodes]
        batches = self._batches(epoch, [share for share in shares if share.queries])
        for episode, share in zip(episodes, shares, strict=True):
            yield len(episode.queries), *(next(batches) if share.queries else (None, None))

    def _batches(self, epoch: int, episodes: Sequence[Episode]) -> Iterator[tuple[Batch, Features | None]]:
        if self._cache is not None and self._settings.steps_per_epoch is None:  # every image will be asked for
            self._cache.fill()
        if self._cache is not None and self._method.features_suffice:
            for episode in episodes:
                batch, features = self._batch(self._cache, episode)
                yield replace(self._masked(batch), seeds=self._seeds(epoch, episode)), features
            return
        settings, on_gpu = self._settings, self._device.type == "cuda"
        loader = make_episode_loader(
            self._samples,
            self._method.transform,
            episodes,
            seed=settings.seed,
            epoch=epoch,
            workers=n_workers(settings.workers, self._device),
            mosaic=settings.mosaic,
            as_pixels=on_gpu,
            pinned=on_gpu,
            cache=self._images,
        )
        mosaic = Mosaic(self._samples, settings.mosaic, (settings.seed, epoch))
        for batch, episode in zip(loader, episodes, strict=True):
            is_kept = self._cache is not None and not any(mosaic.draw(index) for index in episode.queries)
            kept = self._cache.rows(episode.queries)[0] if self._cache is not None and is_kept else None
            there = on_device(batch, self._method.transform, self._device)
            yield replace(self._masked(there), seeds=self._seeds(epoch, episode)), kept

    def _seeds(self, epoch: int, episode: Episode) -> list[int]:
        streams = (np.random.default_rng([self._settings.seed, epoch, _METHOD, index]) for index in episode.queries)
        return [int(stream.integers(1 << 62)) for stream in streams]

    def close(self) -> None:
        """Drop what is kept in memory."""
        if self._cache is not None:
            self._cache.close()

    def _batch(self, cache: FeatureCache, episode: Episode) -> tuple[Batch, Features]:
        samples = [self._samples[index] for index in episode.queries]
        features, masks = cache.rows(episode.queries)
        if episode.support:
            features = beside(features, cache.rows(episode.support)[0])
        batch = Batch(
            images=torch.empty(len(samples), 0, device=self._device),
            labels=sent(torch.tensor([sample.label for sample in samples], dtype=torch.int64), self._device),
            class_names=[sample.class_name for sample in samples],
            paths=[sample.key for sample in samples],
            dataset="+".join(dict.fromkeys(sample.dataset for sample in samples)),
            masks=None if masks is None else sent(masks, self._device),
            annotated=None if masks is None else [sample.annotated for sample in samples],
        )
        return batch, features

    def _masked(self, batch: Batch) -> Batch:
        """The batch, images without annotation passed off as normal where that is asked for."""
        if self._settings.unannotated == "leave_out" or self._method.supervision != "anomaly":
            return batch
        side, masks = self._method.map_size, batch.masks
        if masks is None:
            masks = torch.zeros(len(batch), side, side, dtype=torch.bool, device=self._device)
        return replace(batch, masks=masks, annotated=None)


def _keeps(method: Method, settings: TrainSettings, datasets: Collection[str], reporter: Reporter) -> bool:
    """Whether features are to be kept. Says why not, where that was asked for."""
    if settings.cache == "off" or (settings.cache == "auto" and settings.epochs == 1):
        return False
    reason = None
    if not (method.features_suffice or method.keeps_features):
        reason = f"method {method.name} learns from the images"
    elif not method.features_suffice and settings.steps_per_epoch is not None:
        reason = "an epoch is a part of the images, which are loaded anyway"
    elif method.features_suffice and any(settings.mosaic.get(name) for name in datasets):
        reason = "mosaics change the images between epochs"
    elif isinstance(method.transform, PairTransform):
        reason = "augmentation changes the images between epochs"
    if reason and settings.cache != "auto":
        reporter.say(f"features     not kept, although trainer.cache={settings.cache}: {reason}")
    return reason is None
