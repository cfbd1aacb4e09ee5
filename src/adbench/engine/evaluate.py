"""The evaluation loop of every method: class by class, streaming, one result row per class and one for their mean."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adbench.data.image_cache import ImageCache
from adbench.data.loading import has_masks, told_of_lost_memory
from adbench.data.sample import Sample
from adbench.engine import ranks
from adbench.engine.accumulators import ClassAccumulator
from adbench.engine.adapt import MemoryBank, build_memory_banks, check_support
from adbench.engine.borrowed import borrowed
from adbench.engine.class_features import Encoded, encoded, relate
from adbench.engine.class_results import ClassResultCache, FinishedClass, restored_supports, save_fitted
from adbench.engine.class_shares import Accumulator, Share, put_together, share_of, takes_whole_classes
from adbench.engine.curves import write_curves
from adbench.engine.device import autocast, check_amp
from adbench.engine.image_caches import image_caches
from adbench.engine.image_size import check_sees_all
from adbench.engine.kept_maps import MapWriter, map_writer
from adbench.engine.names import file_name, file_names
from adbench.engine.pictures import Painter, Shortlist, save_pictures
from adbench.engine.progress import Advance, Quiet, Reporter
from adbench.engine.rng import capture_streams, restore_streams, seed_streams
from adbench.engine.road_accumulator import RoadAccumulator, check_road
from adbench.engine.rows import Draw, build_rows, image_records, summarise_seeds
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, MetricSet, Row, Supports
from adbench.engine.validation_thresholds import check_validation, validation_thresholds
from adbench.engine.weights import WeightsRecord
from adbench.engine.zero_shot import find_overlap
from adbench.methods.base import Method


@told_of_lost_memory()
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
    Raises UserError for missing support, support that is to be scored too, a precision the device lacks, NaN.
    """
    check_amp(settings.amp, device)
    check_support(method, data)
    check_road(method, data.metric_set, settings, data.name)
    check_validation(method, settings)
    method.to(device)
    drawn = any(k for k, _ in data.supports)
    restored = {} if drawn else restored_supports(record, data)
    supports = restored or data.supports or {(0, None): {}}
    as_loaded = method.adapts and not (drawn or restored)  # with the memory banks that the method came with
    work = _Work(method, data, settings, device, supports if method.adapts and drawn else None, list(supports), run)
    seen = find_overlap(record, data.samples)
    cache = ClassResultCache(run, method, data, settings, record) if run and ranks.is_first() else None
    finished = _finished_classes(work, cache, reporter or Quiet(), painter if run else None)
    rows, records = list[Row](), list[dict[str, Any]]()
    if ranks.is_first():
        if run and method.fits and drawn:
            banks = {draw: [c.memory_banks[i] for c in finished.values()] for i, draw in enumerate(supports)}
            save_fitted(run, method, data, banks, settings.seed)
        results = {draw: {name: c.results[i] for name, c in finished.items()} for i, draw in enumerate(supports)}
        if as_loaded:
            for by_class in results.values():
                by_class |= {name: {**result, "shots": method.shots(name)} for name, result in by_class.items()}
        records = image_records(data, results)
        write_curves(run, data.name, results)
        for draw, sets in supports.items():
            rows += build_rows(
                method,
                data.name,
                results[draw],
                settings,
                record,
                draw=draw,
                support=sets,
                metric_set=data.metric_set,
                note=data.note,
                seen=seen,
            )
        rows += summarise_seeds(rows)
    rows, records = ranks.broadcast((rows, records))
    if scores is not None:
        scores += records
    return rows


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be scored, with what.

    supports  the support sets to adapt to; None: the memory banks there are
    draws     K and seed of each result
    run       where maps are kept
    """

    method: Method
    data: EvalData
    settings: EvalSettings
    device: torch.device
    supports: Supports | None
    draws: Sequence[Draw]
    run: RunFolder | None

    def banks(self, class_name: str, samples: Sequence[Sample]) -> list[MemoryBank] | None:
        """What the method makes of each support set of a class; empty ones where there is nothing to score."""
        if self.supports is None:
            return None
        if not samples:
            return [{} for _ in self.supports]
        sets = [by_class.get(class_name) for by_class in self.supports.values()]
        return build_memory_banks(self.method, sets, self.settings, device=self.device)

    def draws_of(self, class_name: str) -> list[tuple[int | None, int | None]]:
        """K and seed of each result of a class; K of the memory bank that the method came with, where it has one."""
        as_loaded = self.method.adapts and self.supports is None
        return [(self.method.shots(class_name) if as_loaded and not k else k, seed) for k, seed in self.draws]


def _finished_classes(
    work: _Work, cache: ClassResultCache | None, reporter: Reporter, painter: Painter | None
) -> dict[str, FinishedClass]:
    """All classes, in their order, on rank 0; those of an earlier attempt are not scored again."""
    method, data, settings = work.method, work.data, work.settings
    classes = {name: [sample for sample in data.samples if sample.class_name == name] for name in data.classes}
    finished = {name: done for name, samples in classes.items() if cache and (done := cache.load(name, samples))}
    todo = ranks.broadcast([name for name in classes if name not in finished])
    if len(todo) < len(classes):
        reporter.say(f"{data.name}: {len(classes) - len(todo)} of {len(classes)} classes were finished before")
    part, with_masks = {name: classes[name] for name in todo}, has_masks(data.samples)
    images = image_caches(method, part, settings, reporter, with_masks=with_masks)
    shared_banks = _shared_banks(work, todo)
    outbox = ranks.Outbox()
    with reporter.track(f"evaluate {data.name}", sum(len(classes[name]) for name in todo)) as advance:
        for name in todo:
            shortlist = Shortlist(settings.heat_maps, method) if painter and settings.heat_maps else None
            whole = _evaluate_class(
                work, name, classes[name], shared_banks, shortlist, outbox, advance, images.get(name)
            )
            if whole is None:
                continue
            finished[name] = _finished_class(method, whole)
            if painter and work.run:
                folder = work.run.heatmaps_dir / file_name(data.name)
                pictures = shortlist.pictures(finished[name].results[-1]["metrics"]) if shortlist else []
                save_pictures(pictures, painter, folder, file_names(data.classes)[name])
            if cache:
                cache.save(name, classes[name], finished[name])
    outbox.wait()
    return {name: finished[name] for name in classes if name in finished}


def _evaluate_class(
    work: _Work,
    name: str,
    samples: Sequence[Sample],
    shared_banks: Mapping[str, list[MemoryBank] | None],
    shortlist: Shortlist | None,
    outbox: ranks.Outbox,
    advance: Advance,
    images: ImageCache | None = None,
) -> Share | None:
    """Score this rank's share of a class. Returns the whole class on rank 0; the others send theirs and go on."""
    method, data = work.method, work.data
    share = share_of(samples, method, work.settings.batch_size, data.classes.index(name))
    banks = shared_banks[name] if name in shared_banks else work.banks(name, share)
    with map_writer(work.run, data, name, samples, work.settings) as maps:
        accumulators = accumulate(
            method,
            share,
            work.settings,
            device=work.device,
            with_masks=has_masks(data.samples),
            memory_banks=banks,
            metric_set=data.metric_set,
            validation=[sample for sample in data.validation if share and sample.class_name == name],
            shortlist=shortlist,
            maps=maps,
            images=images,
            advance=advance,
        )
        mine = Share(accumulators, shortlist, banks if banks and method.fits and share else [])
        if ranks.is_first():
            whole = put_together(mine, samples, outbox)
            if maps is not None:
                maps.finish(work.draws_of(name))
            return whole
    outbox.send(mine)  # its maps are written
    return None


def _shared_banks(work: _Work, classes: Sequence[str]) -> dict[str, list[MemoryBank] | None]:
    """The memory banks of all classes, each made by one rank; nothing where every rank makes what it needs."""
    if ranks.count() == 1 or work.supports is None or takes_whole_classes(work.method):
        return {}
    mine = {name: work.banks(name, work.data.samples) for name in classes[ranks.rank() :: ranks.count()]}
    return {name: banks for part in ranks.gather(mine, work.device) for name, banks in part.items()}


def _finished_class(method: Method, whole: Share) -> FinishedClass:
    results = [accumulator.result() for accumulator in whole.accumulators]
    if method.selects_on_test:
        for result in results:
            result["selected_on_test"] = True
            result["notes"].append(f"not held out: {method.name} chose among its states by these results")
    return FinishedClass(results, whole.fitted)


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
    images: ImageCache | None = None,
    advance: Advance | None = None,
) -> list[Accumulator]:
    """Score the samples of one class, or a shard of them (shards merge): an accumulator for each of `memory_banks`.

    None: one, with the memory bank that the method has. Every image is loaded and encoded once for all of them. Random
    streams are seeded at the start and kept apart: no result depends on the others. Pictures are of the last bank.
    `seconds` is what each result alone would have taken. Images come from `images`, where it is given.
    """
    metric_set = metric_set or MetricSet()
    batches: Iterable[Encoded] = encoded(method, samples, settings, device=device, with_masks=with_masks, images=images)
    with borrowed(method):
        banks = [method.memory_bank] if memory_banks is None else list(memory_banks)
        if method.selects_on_test and samples:
            batches = list(batches)
            for bank in banks:
                method.memory_bank = bank
                method.select_on_test(samples[0].class_name, [(features, batch) for batch, features, _ in batches])
        claims = method.scores_are_probabilities
        accumulators: list[Accumulator] = [
            RoadAccumulator(settings, metric_set, probabilities=claims)
            if metric_set.name == "road"
            else ClassAccumulator(settings, thresholds, probabilities=claims)
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
                    prediction = method.score(features, batch)
                if prediction.maps is not None and batch.defects is not None:
                    check_sees_all(method, f"eval.{'pixel_size' if settings.pixel_size == 'image' else 'metrics'}")
                accumulators[number].update(prediction, batch)
                if maps is not None:
                    maps.add(number, prediction, batch)
                if not alone:
                    streams[number] = capture_streams(method)
                accumulators[number].seconds += seconds + time.perf_counter() - begin
            if shortlist is not None:
                shortlist.offer(prediction, batch)
            if advance is not None:
                advance(len(batch), {})
    return accumulators
