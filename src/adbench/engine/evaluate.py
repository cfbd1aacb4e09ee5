"""The evaluation loop of every method: class by class, streaming, one result row per class and one for their mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adbench.data.loading import has_masks, make_loader, told_of_dead_workers
from adbench.data.sample import Batch, Sample
from adbench.data.support import SupportSet
from adbench.engine.accumulators import ClassAccumulator
from adbench.engine.adapt import MemoryBank, build_memory_banks, check_support, joined
from adbench.engine.borrowed import borrowed
from adbench.engine.class_results import ClassResultCache, Finished, restored_supports, save_fitted
from adbench.engine.device import autocast, check_amp
from adbench.engine.names import file_name, file_names
from adbench.engine.pictures import Painter, Picture, Shortlist, save_pictures
from adbench.engine.progress import Advance, Quiet, Reporter
from adbench.engine.rng import capture_streams, restore_streams, seed_streams
from adbench.engine.road_accumulator import RoadAccumulator, check_road
from adbench.engine.rows import Draw, build_rows, summarise_seeds
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, MetricSet, Row
from adbench.engine.weights import WeightsRecord
from adbench.engine.zero_shot import find_overlap
from adbench.methods.base import Features, Method

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
    dataset, class_name, path, label, score, map_max, shots, support_seed.
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
    results: dict[Draw, dict[str, Any]] = {draw: {} for draw in supports}
    fitted: dict[Draw, list[MemoryBank]] = {draw: [] for draw in supports}
    kept = ClassResultCache(run, method, data, settings, record) if run else None
    seen = find_overlap(record, data.samples)
    n_kept, names = 0, file_names(data.classes)
    with reporter.track(f"evaluate {data.name}", len(data.samples)) as advance:
        for name in data.classes:
            samples = [sample for sample in data.samples if sample.class_name == name]
            done = kept.load(name, samples) if kept else None
            if done is None:
                shortlist = Shortlist(settings.heat_maps, method) if run and painter and settings.heat_maps else None
                with borrowed(method):
                    done = _evaluate_class(
                        method,
                        samples,
                        settings,
                        [by_class.get(name) for by_class in supports.values()] if method.adapts and shots else None,
                        device=device,
                        with_masks=has_masks(data.samples),
                        metric_set=data.metric_set,
                        shortlist=shortlist,
                        advance=advance,
                    )
                if run and painter:
                    pictures = shortlist.pictures() if shortlist else []
                    save_pictures(pictures, painter, run.heatmaps_dir / file_name(data.name), names[name])
                if kept:
                    kept.save(name, samples, done)
            else:
                n_kept += 1
                advance(len(samples), {})
            for number, draw in enumerate(supports):
                results[draw][name] = done.results[number]
                if method.adapts and not (shots or restored):
                    results[draw][name] = {**done.results[number], "shots": method.shots(name)}
                fitted[draw] += done.memory_banks[number : number + 1]
                if scores is not None:
                    of_draw = {"shots": results[draw][name].get("shots", draw[0]), "support_seed": draw[1]}
                    own = {"dataset": data.name, "class_name": name}
                    scores += [{**own, **image, **of_draw} for image in done.results[number]["images"]]
    if n_kept:
        reporter.say(f"{data.name}: {n_kept} of {len(data.classes)} classes were finished before")
    if run and method.fits and shots:
        save_fitted(run, method, data, fitted, settings.seed)
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


def _evaluate_class(
    method: Method,
    samples: Sequence[Sample],
    settings: EvalSettings,
    sets: Sequence[SupportSet | None] | None,
    *,
    device: torch.device,
    with_masks: bool,
    metric_set: MetricSet,
    shortlist: Shortlist | None,
    advance: Advance | None,
) -> Finished:
    """Adapt to each of the support sets (None: keep the memory there is) and measure."""
    memory_banks = None if sets is None else build_memory_banks(method, sets, settings, device=device)
    batches: Iterable[Encoded] = _encoded(method, samples, settings, device=device, with_masks=with_masks)
    if method.selects_on_test:
        batches = list(batches)
        for memory_bank in [method.memory_bank] if memory_banks is None else memory_banks:
            method.memory_bank = memory_bank
            method.select_on_test(samples[0].class_name, [(one.features, one.batch) for one in batches])
    empty = _empty_totals(settings, metric_set)
    totals = _measure(
        method, batches, settings, memory_banks, empty, device=device, shortlist=shortlist, advance=advance
    )
    results = [one.result() for one in totals]
    if method.selects_on_test:
        for result in results:
            result["selected_on_test"] = True
            result["notes"].append(f"not held out: {method.name} chose among its states by these results")
    return Finished(results, memory_banks if memory_banks is not None and method.fits else [])


def measure(
    method: Method,
    samples: Sequence[Sample],
    settings: EvalSettings,
    *,
    device: torch.device,
    with_masks: bool,
    metric_set: MetricSet | None = None,
    shortlist: Shortlist | None = None,
) -> Accumulator:
    """Totals of one class, or of a shard of its samples (shards merge), with the memory that the method has."""
    (totals,) = measure_each(
        method,
        samples,
        settings,
        None,
        device=device,
        with_masks=with_masks,
        metric_set=metric_set,
        shortlist=shortlist,
    )
    return totals


def measure_each(
    method: Method,
    samples: Sequence[Sample],
    settings: EvalSettings,
    memory_banks: Sequence[MemoryBank] | None,
    *,
    device: torch.device,
    with_masks: bool,
    metric_set: MetricSet | None = None,
    shortlist: Shortlist | None = None,
    advance: Advance | None = None,
) -> list[Accumulator]:
    """Totals of one class for each of `memories`; every image is loaded and encoded once for all of them.

    None: one result, with the memory that the method has. Random streams are seeded at the start and kept apart:
    no result depends on the others. Pictures are of the last. `seconds` is what each result alone would have taken.
    """
    batches = _encoded(method, samples, settings, device=device, with_masks=with_masks)
    empty = _empty_totals(settings, metric_set or MetricSet())
    with borrowed(method):
        return _measure(
            method, batches, settings, memory_banks, empty, device=device, shortlist=shortlist, advance=advance
        )


def _empty_totals(settings: EvalSettings, metric_set: MetricSet) -> Callable[[], Accumulator]:
    if metric_set.name == "road":
        return lambda: RoadAccumulator(settings, metric_set)
    return lambda: ClassAccumulator(settings)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch, its frozen features, and the seconds that loading and encoding took."""

    batch: Batch
    features: Features
    seconds: float


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
        yield Encoded(batch, features, time.perf_counter() - start)
        start = time.perf_counter()


def _measure(
    method: Method,
    batches: Iterable[Encoded],
    settings: EvalSettings,
    memory_banks: Sequence[MemoryBank] | None,
    empty: Callable[[], Accumulator],
    *,
    device: torch.device,
    shortlist: Shortlist | None,
    advance: Advance | None,
) -> list[Accumulator]:
    choices = [method.memory_bank] if memory_banks is None else list(memory_banks)
    totals = [empty() for _ in choices]
    seed_streams(settings.seed, method)
    streams = [capture_streams(method)] * len(choices)
    for one in batches:
        for number, memory_bank in enumerate(choices):
            begin = time.perf_counter()
            if len(choices) > 1:
                restore_streams(streams[number], method)
            method.memory_bank = memory_bank
            with torch.no_grad(), autocast(settings.amp, device):
                prediction = method.score(one.features, one.batch)
            totals[number].update(prediction, one.batch)
            if len(choices) > 1:
                streams[number] = capture_streams(method)
            totals[number].seconds += one.seconds + time.perf_counter() - begin
        if shortlist is not None:
            shortlist.offer(prediction, one.batch)
        if advance is not None:
            advance(len(one.batch), {})
    return totals


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
        if chosen:
            measure(
                method,
                chosen,
                settings,
                device=device,
                with_masks=has_masks(data.samples),
                metric_set=data.metric_set,
                shortlist=shortlist,
            )
    return sorted(shortlist.pictures(), key=lambda picture: (picture.class_name, picture.key))
