"""Scores the samples of a class, batch by batch, with one memory bank after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch

from adbench.data.sample import Batch, Sample
from adbench.engine.accumulators import ClassAccumulator
from adbench.engine.adapt import MemoryBank
from adbench.engine.behind import Behind
from adbench.engine.borrowed import borrowed
from adbench.engine.class_features import Encoded, encoded, relate
from adbench.engine.device import autocast, to_host
from adbench.engine.feature_folder import FeatureFolder
from adbench.engine.image_size import check_sees_all
from adbench.engine.kept_maps import MapWriter
from adbench.engine.pictures import Shortlist
from adbench.engine.progress import Advance
from adbench.engine.rng import capture_streams, restore_streams, seed_streams
from adbench.engine.room import Room
from adbench.engine.settings import EvalSettings, MetricSet
from adbench.engine.validation_thresholds import validation_thresholds
from adbench.methods.base import Method, Prediction

BATCHES_BEHIND = 2
"""Scored batches whose metrics are not done yet, at most."""


def accumulate(
    method: Method,
    samples: Sequence[Sample],
    settings: EvalSettings,
    *,
    device: torch.device,
    with_masks: bool,
    memory_banks: Sequence[MemoryBank] | None = None,
    metric_set: MetricSet | None = None,
    validation: Sequence[Sample] = (),
    shortlist: Shortlist | None = None,
    maps: MapWriter | None = None,
    loaded: Iterable[Batch] | None = None,
    folder: FeatureFolder | None = None,
    advance: Advance | None = None,
    room: Room | None = None,
) -> list[ClassAccumulator]:
    """Score the samples of one class, or a shard of them (shards merge): an accumulator for each of `memory_banks`.

    None: one, with the memory bank that the method has. Every image is loaded and encoded once for all of them. Random
    streams are seeded at the start and kept apart: no result depends on the others. Pictures are of the last bank.
    Metrics are taken behind the loop, batch after batch. `seconds` is what each result alone would have taken.
    `loaded`: the batches, where others load them; `folder`: where features are kept;
    `room`: for how many images at a time there is memory.
    The function is long because its order is the point: banks, choice, thresholds, seeds, relations, then the loop.
    """
    room = room or Room()
    batches: Iterable[Encoded] = encoded(
        method, samples, settings, device=device, with_masks=with_masks, loaded=loaded, folder=folder, room=room
    )
    with borrowed(method), Behind(BATCHES_BEHIND) as behind:
        banks = [method.memory_bank] if memory_banks is None else list(memory_banks)
        if method.selects_on_test and samples:
            batches = list(batches)
            for bank in banks:
                method.memory_bank = bank
                method.select_on_test(samples[0].class_name, [(features, batch) for batch, features, _ in batches])
        claims = method.scores_are_probabilities
        accumulators = [
            ClassAccumulator(settings, metric_set, thresholds, probabilities=claims)
            for thresholds in validation_thresholds(method, validation, settings, banks, device=device)
        ]
        seed_streams(settings.seed, method)
        if method.transductive and samples:
            batches = relate(method, banks, batches, samples, settings, advance or (lambda *_: None))
        alone = len(banks) == 1  # then nothing comes between its draws, and copying streams costs a millisecond
        streams = [] if alone else [capture_streams(method)] * len(banks)
        for batch, features, seconds in batches:
            for number, bank in enumerate(banks):
                begin = time.perf_counter()
                if not alone:
                    restore_streams(streams[number], method)
                method.memory_bank = bank
                with torch.no_grad(), autocast(settings.amp, device):
                    prediction = room.score(method, features, batch)
                if prediction.maps is not None and batch.defects is not None:
                    check_sees_all(method, f"eval.{'pixel_size' if settings.pixel_size == 'image' else 'metrics'}")
                offered = shortlist if number == len(banks) - 1 else None
                arriving = to_host(prediction, batch)
                behind.give(partial(_take_in, arriving, number, accumulators[number], maps, offered))
                if not alone:
                    streams[number] = capture_streams(method)
                accumulators[number].seconds += seconds + time.perf_counter() - begin
            if advance is not None:
                advance(len(batch), {})
        begin = time.perf_counter()
    for accumulator in accumulators:
        accumulator.seconds += time.perf_counter() - begin
    return accumulators


def _take_in(
    arriving: Callable[[], tuple[Prediction, Batch]],
    number: int,
    accumulator: ClassAccumulator,
    maps: MapWriter | None,
    shortlist: Shortlist | None,
) -> None:
    """What is kept of a prediction, with memory bank `number`."""
    prediction, batch = arriving()
    accumulator.update(prediction, batch)
    if maps is not None:
        maps.add(number, prediction, batch)
    if shortlist is not None:
        shortlist.offer(prediction, batch)
