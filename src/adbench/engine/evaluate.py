"""The evaluation loop of every method: class by class, streaming, one result row per class and one for their mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from adbench.data.loading import has_masks, in_turn
from adbench.data.sample import Batch, Sample
from adbench.data.worker_processes import told_of_lost_memory
from adbench.engine import ranks
from adbench.engine.accumulate import accumulate
from adbench.engine.adapt import MemoryBank, build_memory_banks, check_support
from adbench.engine.auto_sizes import sized
from adbench.engine.behind import Behind
from adbench.engine.class_features import class_loaders
from adbench.engine.class_results import ClassResultCache, FinishedClass, restored_supports, save_fitted
from adbench.engine.class_shares import Share, put_together, share_of, takes_whole_classes
from adbench.engine.curves import write_curves
from adbench.engine.device import check_amp, check_held
from adbench.engine.feature_folder import FeatureFolder
from adbench.engine.image_caches import image_caches
from adbench.engine.kept_maps import map_writer
from adbench.engine.names import file_name, file_names
from adbench.engine.pictures import Painter, Shortlist, save_pictures
from adbench.engine.progress import Advance, Quiet, Reporter
from adbench.engine.road import check_road
from adbench.engine.room import Room
from adbench.engine.rows import build_rows, image_records, summarise_seeds
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, Row
from adbench.engine.validation_thresholds import check_validation
from adbench.engine.weights import WeightsRecord, backbone
from adbench.engine.zero_shot import Overlap, find_overlap
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
    check_held(backbone(method).get("dtype", "float32"), settings.amp, learns=False)
    check_support(method, data)
    check_road(method, data.metric_set, settings, data.name)
    check_validation(method, settings)
    method.to(device)
    drawn = any(k for k, _ in data.supports)
    restored = {} if drawn else restored_supports(record, data)
    data = replace(data, supports=restored or data.supports or {(0, None): {}})
    cache = ClassResultCache(run, method, data, settings, record) if run and ranks.is_first() else None
    reporter = reporter or Quiet()
    settings = sized(settings, method, data.samples, device, reporter)
    features = FeatureFolder(method, data.samples, settings, device, reporter) if settings.feature_cache else None
    work = _Work(method, data, settings, device, method.adapts and drawn, run, features, Room(reporter))
    seen = find_overlap(record, data.samples)
    finished = _finished_classes(work, cache, reporter, painter if run else None)
    if run and method.fits and drawn and ranks.is_first():
        banks = {draw: [c.memory_banks[i] for c in finished.values()] for i, draw in enumerate(data.supports)}
        save_fitted(run, method, data, banks, settings.seed)
    rows, records = ranks.broadcast(_rows(work, finished, record, seen) if ranks.is_first() else ([], []))
    if scores is not None:
        scores += records
    return rows


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be scored, with what.

    adapts    whether to adapt to the support sets of `data`, rather than score with the memory banks there are
    run       where maps are kept
    features  where features are kept
    room      for how many images at a time there is memory
    """

    method: Method
    data: EvalData
    settings: EvalSettings
    device: torch.device
    adapts: bool
    run: RunFolder | None
    features: FeatureFolder | None
    room: Room

    def share(self, name: str, samples: Sequence[Sample]) -> list[Sample]:
        """The samples of a class that this rank scores."""
        return share_of(samples, self.method, self.settings.images_at_a_time, self.data.classes.index(name))

    def banks(self, class_name: str, samples: Sequence[Sample]) -> list[MemoryBank] | None:
        """What the method makes of each support set of a class; empty ones where there is nothing to score."""
        if not self.adapts:
            return None
        if not samples:
            return [{} for _ in self.data.supports]
        sets = [by_class.get(class_name) for by_class in self.data.supports.values()]
        return build_memory_banks(self.method, sets, self.settings, device=self.device)

    def draws_of(self, class_name: str) -> list[tuple[int | None, int | None]]:
        """K and seed of each result of a class; K of the memory bank that the method came with, where it has one."""
        as_loaded = self.method.adapts and not self.adapts
        return [(self.method.shots(class_name) if as_loaded and not k else k, seed) for k, seed in self.data.supports]


def _rows(
    work: _Work, finished: Mapping[str, FinishedClass], record: WeightsRecord | None, seen: Overlap
) -> tuple[list[Row], list[dict[str, Any]]]:
    """The rows of every draw, of their means over seeds too, and a record per image; curves are written on the way."""
    results = {
        draw: {name: {**of.results[i], "shots": work.draws_of(name)[i][0]} for name, of in finished.items()}
        for i, draw in enumerate(work.data.supports)
    }
    write_curves(work.run, work.data.name, results)
    rows = [
        row
        for draw, by_class in results.items()
        for row in build_rows(work.method, work.data, by_class, work.settings, record, draw=draw, seen=seen)
    ]
    return rows + summarise_seeds(rows), image_records(work.data, results)


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
    feed = _feed(work, {name: classes[name] for name in todo}, reporter)
    shared_banks = _shared_banks(work, todo)
    outbox = ranks.Outbox()
    with (
        reporter.track(f"evaluate {data.name}", sum(len(classes[name]) for name in todo)) as advance,
        Behind(1) as behind,
    ):
        for name in todo:
            shortlist = Shortlist(settings.heat_maps, method) if painter and settings.heat_maps else None
            whole = _evaluate_class(work, name, classes[name], shared_banks, shortlist, outbox, advance, next(feed))
            if whole is None:
                continue
            finish = partial(_finish_class, work, name, classes[name], whole, shortlist, painter, cache, finished)
            if method.fits:  # what it has fitted is written by way of the method, which the loop needs
                finish()
            else:
                behind.give(finish)
    outbox.wait()
    return {name: finished[name] for name in classes if name in finished}


def _feed(work: _Work, classes: Mapping[str, Sequence[Sample]], reporter: Reporter) -> Iterator[Iterator[Batch]]:
    """The batches of this rank's share of each class, from one loader."""
    method, settings, device, with_masks = work.method, work.settings, work.device, has_masks(work.data.samples)
    images = image_caches(method, classes, settings, reporter, device=device, with_masks=with_masks)
    shares = [(work.share(name, samples), images.get(name)) for name, samples in classes.items()]
    return in_turn(class_loaders(method, shares, settings, device=device, with_masks=with_masks))


def _evaluate_class(
    work: _Work,
    name: str,
    samples: Sequence[Sample],
    shared_banks: Mapping[str, list[MemoryBank] | None],
    shortlist: Shortlist | None,
    outbox: ranks.Outbox,
    advance: Advance,
    loaded: Iterable[Batch] | None = None,
) -> Share | None:
    """Score this rank's share of a class. Returns the whole class on rank 0; the others send theirs and go on."""
    method, data = work.method, work.data
    share = work.share(name, samples)
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
            loaded=loaded,
            folder=work.features,
            room=work.room,
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
    if ranks.count() == 1 or not work.adapts or takes_whole_classes(work.method):
        return {}
    mine = {name: work.banks(name, work.data.samples) for name in classes[ranks.rank() :: ranks.count()]}
    return {name: banks for part in ranks.gather(mine, work.device) for name, banks in part.items()}


def _finish_class(
    work: _Work,
    name: str,
    samples: Sequence[Sample],
    whole: Share,
    shortlist: Shortlist | None,
    painter: Painter | None,
    cache: ClassResultCache | None,
    finished: dict[str, FinishedClass],
) -> None:
    """Compute the results of a class, into `finished`; draw its pictures, and keep it."""
    results = [accumulator.result() for accumulator in whole.accumulators]
    if work.method.selects_on_test:
        for result in results:
            result["selected_on_test"] = True
            result["notes"].append(f"not held out: {work.method.name} chose among its states by these results")
    if painter and work.run:
        pictures = shortlist.pictures(results[-1]["metrics"]) if shortlist else []
        folder = work.run.heatmaps_dir / file_name(work.data.name)
        save_pictures(pictures, painter, folder, file_names(work.data.classes)[name])
    finished[name] = FinishedClass(results, whole.fitted)
    if cache:
        cache.save(name, samples, finished[name])
