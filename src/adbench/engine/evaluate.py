"""The evaluation loop of every method: class by class, streaming, one result row per class and one for their mean."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from adbench.data.loading import has_masks, make_loader, told_of_dead_workers
from adbench.data.sample import Sample
from adbench.data.support import SupportSet
from adbench.engine.accumulators import ClassAccumulator
from adbench.engine.adapt import MemoryBank, build_memory_banks, check_support, joined
from adbench.engine.borrowed import borrowed
from adbench.engine.class_features import Encoded, relate
from adbench.engine.class_results import ClassResultCache, FinishedClass, restored_supports, save_fitted
from adbench.engine.device import autocast, check_amp
from adbench.engine.kept_maps import MapWriter, maps_files
from adbench.engine.names import file_name, file_names
from adbench.engine.pictures import Painter, Picture, Shortlist, save_pictures
from adbench.engine.progress import Advance, Quiet, Reporter
from adbench.engine.rng import capture_streams, restore_streams, seed_streams
from adbench.engine.road_accumulator import RoadAccumulator, check_road
from adbench.engine.rows import Draw, build_rows, image_records, summarise_seeds
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, MetricSet, Row
from adbench.engine.weights import WeightsRecord
from adbench.engine.zero_shot import find_overlap
from adbench.errors import UserError
from adbench.methods.base import Method

Accumulator = ClassAccumulator | RoadAccumulator


@told_of_dead_workers()
def evaluate(
    method: Method,
    data: EvalData,
    settings: EvalSettings,
    *,
    device: torch.device,
    record: WeightsRecord | None = None,
    reporter: Reporter | None = None,
    run: RunFolder | None = None,
    painter: Painter | None = None,
    scores: list[dict[str, Any]] | None = None,
) -> list[Row]:
    """Score all samples of `data` and return one row per class, then the row "mean" (see `engine.rows`).

    A method that adapts gets the support sets of `data` first; there are such rows for each (K, seed) of them, then for
    each K their mean and standard deviation over the seeds.
    `record` says what the weights were trained on (from `load_weights` or `train`; None: nothing was trained) and marks
    rows that are not zero-shot. With `run`, finished classes are kept there, and an interrupted evaluation goes on
    behind them; what the method fits is written there as weights. With `run` and `painter`, heat maps go to
    run.path/heatmaps/<data set>/. To `scores`, where a list is given, one record per image and draw is appended:
    dataset, class_name, path, defect, label, score, map_max, shots, support_seed.
    Raises UserError for missing support, for support that is to be scored too, for a precision that the device lacks,
    for NaN predictions.
    """
    check_amp(settings.amp, device)
    check_support(method, data)
    check_road(method, data.metric_set, settings, data.name)
    reporter = reporter or Quiet()
    method.to(device)
    shots = any(k for k, _ in data.supports)
    restored = {} if shots else restored_supports(record, data)
    supports = restored or data.supports or {(0, None): {}}
    as_loaded = method.adapts and not (shots or restored)  # with the memory banks that the method came with
    results: dict[Draw, dict[str, Any]] = {draw: {} for draw in supports}
    fitted: dict[Draw, list[MemoryBank]] = {draw: [] for draw in supports}
    cache = ClassResultCache(run, method, data, settings, record) if run else None
    seen = find_overlap(record, data.samples)
    n_before, names = 0, file_names(data.classes)
    with reporter.track(f"evaluate {data.name}", len(data.samples)) as advance:
        for name in data.classes:
            samples = [sample for sample in data.samples if sample.class_name == name]
            finished = cache.load(name, samples) if cache else None
            if finished is None:
                sets = [by_class.get(name) for by_class in supports.values()] if method.adapts and shots else None
                shortlist = Shortlist(settings.heat_maps, method) if run and painter and settings.heat_maps else None
                with _map_writer(run, data, name, samples, settings) as maps:
                    finished = _evaluate_class(
                        method,
                        data,
                        samples,
                        settings,
                        sets,
                        device=device,
                        shortlist=shortlist,
                        maps=maps,
                        advance=advance,
                    )
                    if maps is not None:
                        maps.finish([(method.shots(name) if as_loaded else k, seed) for k, seed in supports])
                if run and painter:
                    pictures = shortlist.pictures() if shortlist else []
                    save_pictures(pictures, painter, run.heatmaps_dir / file_name(data.name), names[name])
                if cache:
                    cache.save(name, samples, finished)
            else:
                n_before += 1
                advance(len(samples), {})
            for number, draw in enumerate(supports):
                results[draw][name] = finished.results[number]
                if as_loaded:
                    results[draw][name] = {**finished.results[number], "shots": method.shots(name)}
                fitted[draw] += finished.memory_banks[number : number + 1]
    if n_before:
        reporter.say(f"{data.name}: {n_before} of {len(data.classes)} classes were finished before")
    if run and method.fits and shots:
        save_fitted(run, method, data, fitted, settings.seed)
    if scores is not None:
        scores += image_records(data, results)
    rows = [
        row
        for draw, by_class in supports.items()
        for row in build_rows(
            method,
            data.name,
            results[draw],
            settings,
            record,
            draw=draw,
            support=by_class,
            metric_set=data.metric_set,
            note=data.note,
            seen=seen,
        )
    ]
    return rows + summarise_seeds(rows)


def _map_writer(
    run: RunFolder | None, data: EvalData, class_name: str, samples: Sequence[Sample], settings: EvalSettings
) -> contextlib.AbstractContextManager[MapWriter | None]:
    if not settings.maps:
        return contextlib.nullcontext()
    if run is None:
        raise UserError("anomaly maps are kept in a run's folder, and there is none", where="eval.maps")
    file = maps_files(run, data.name, data.classes)[class_name]
    return MapWriter(file, [sample.key for sample in samples], settings.maps)


def _evaluate_class(
    method: Method,
    data: EvalData,
    samples: Sequence[Sample],
    settings: EvalSettings,
    supports: Sequence[SupportSet | None] | None,
    *,
    device: torch.device,
    shortlist: Shortlist | None,
    maps: MapWriter | None,
    advance: Advance | None,
) -> FinishedClass:
    """Adapt to each of the support sets (None: keep the memory bank there is) and score the samples of a class."""
    banks = None if supports is None else build_memory_banks(method, supports, settings, device=device)
    accumulators = accumulate(
        method,
        samples,
        settings,
        device=device,
        with_masks=has_masks(data.samples),
        memory_banks=banks,
        metric_set=data.metric_set,
        shortlist=shortlist,
        maps=maps,
        advance=advance,
    )
    results = [accumulator.result() for accumulator in accumulators]
    if method.selects_on_test:
        for result in results:
            result["selected_on_test"] = True
            result["notes"].append(f"not held out: {method.name} chose among its states by these results")
    return FinishedClass(results, banks if banks is not None and method.fits else [])


def accumulate(
    method: Method,
    samples: Sequence[Sample],
    settings: EvalSettings,
    *,
    device: torch.device,
    with_masks: bool,
    memory_banks: Sequence[MemoryBank] | None = None,
    metric_set: MetricSet | None = None,
    shortlist: Shortlist | None = None,
    maps: MapWriter | None = None,
    advance: Advance | None = None,
) -> list[Accumulator]:
    """Score the samples of one class, or a shard of them (shards merge): an accumulator for each of `memory_banks`.

    None: one, with the memory bank that the method has. Every image is loaded and encoded once for all of them. Random
    streams are seeded at the start and kept apart: no result depends on the others. Pictures are of the last bank.
    `seconds` is what each result alone would have taken.
    """
    metric_set = metric_set or MetricSet()
    batches: Iterable[Encoded] = _encoded(method, samples, settings, device=device, with_masks=with_masks)
    with borrowed(method):
        banks = [method.memory_bank] if memory_banks is None else list(memory_banks)
        if method.selects_on_test:
            batches = list(batches)
            for bank in banks:
                method.memory_bank = bank
                method.select_on_test(samples[0].class_name, [(features, batch) for batch, features, _ in batches])
        accumulators: list[Accumulator] = [
            RoadAccumulator(settings, metric_set) if metric_set.name == "road" else ClassAccumulator(settings)
            for _ in banks
        ]
        seed_streams(settings.seed, method)
        if method.transductive and samples:
            batches = relate(method, banks, batches, samples, settings, advance or (lambda *_: None))
        streams = [capture_streams(method)] * len(banks)
        for batch, features, seconds in batches:
            for number, bank in enumerate(banks):
                begin = time.perf_counter()
                restore_streams(streams[number], method)
                method.memory_bank = bank
                with torch.no_grad(), autocast(settings.amp, device):
                    prediction = method.score(features, batch)
                accumulators[number].update(prediction, batch)
                if maps is not None:
                    maps.add(number, prediction, batch)
                streams[number] = capture_streams(method)
                accumulators[number].seconds += seconds + time.perf_counter() - begin
            if shortlist is not None:
                shortlist.offer(prediction, batch)
            if advance is not None:
                advance(len(batch), {})
    return accumulators


def _encoded(
    method: Method, samples: Sequence[Sample], settings: EvalSettings, *, device: torch.device, with_masks: bool
) -> Iterator[Encoded]:
    method.eval()
    size = 1 if method.mixes_batch else settings.batch_size
    loader = make_loader(samples, method.transform, batch_size=size, workers=settings.workers, with_masks=with_masks)
    start = time.perf_counter()
    for batch in loader:
        batch = batch.to(device)
        with torch.no_grad(), autocast(settings.amp, device):
            features = method.encode(batch)
        yield batch, features, time.perf_counter() - start
        start = time.perf_counter()


def sample_pictures(
    method: Method, data: EvalData, settings: EvalSettings, count: int, *, device: torch.device
) -> list[Picture]:
    """Pictures of `count` anomalous images, taken from the classes of `data` in turn: a look during training."""
    by_class = [[s for s in data.samples if s.class_name == name and s.label != 0] for name in data.classes]
    longest = max(len(samples) for samples in by_class)
    chosen = [samples[i] for i in range(longest) for samples in by_class if i < len(samples)][:count]
    shortlist = Shortlist(count, method)
    with borrowed(method):
        if data.supports and chosen:
            sets = list(data.supports.values())[-1]
            method.memory_bank = joined(
                build_memory_banks(method, [sets.get(name)], settings, device=device)[0] for name in data.classes
            )
        for name in dict.fromkeys(sample.class_name for sample in chosen):
            accumulate(
                method,
                [sample for sample in chosen if sample.class_name == name],
                settings,
                device=device,
                with_masks=has_masks(data.samples),
                metric_set=data.metric_set,
                shortlist=shortlist,
            )
    return sorted(shortlist.pictures(), key=lambda picture: (picture.class_name, picture.key))
