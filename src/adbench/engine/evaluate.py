"""The evaluation loop of every method: class by class, streaming, one result row per class and one for their mean."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from adbench.data.loading import has_masks, make_loader
from adbench.data.sample import Sample
from adbench.engine.device import autocast, check_amp
from adbench.engine.pictures import Painter, Picture, Shortlist, save_pictures
from adbench.engine.progress import Advance, Quiet, Reporter
from adbench.engine.rng import seed_streams
from adbench.engine.rows import build_rows
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, Row
from adbench.engine.totals import ClassTotals
from adbench.engine.weights import WeightsRecord
from adbench.errors import UserError
from adbench.methods.base import Method


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
) -> list[Row]:
    """Score all samples of `data` and return one row per class, then the row "mean" (see `engine.rows`).

    `record` says what the weights were trained on (from `load_weights` or `train`; None: nothing was trained) and marks
    rows that are not zero-shot. With `run` and `painter`, heat maps go to run.path/heatmaps/<data set>/.
    Raises UserError for a method that must adapt first, for a precision that the device lacks, for NaN predictions.
    """
    if method.adapts:
        raise UserError(
            f"method {method.name} needs normal images of each class, and `eval` does not give it any yet",
            where=f"method={method.name}",
            mend="choose a zero-shot method",
        )
    check_amp(settings.amp, device)
    reporter = reporter or Quiet()
    method.to(device)
    results = {}
    with reporter.track(f"evaluate {data.name}", len(data.samples)) as advance:
        for name in data.classes:
            samples = [sample for sample in data.samples if sample.class_name == name]
            shortlist = Shortlist(settings.heat_maps, method) if run and painter and settings.heat_maps else None
            totals = measure(
                method,
                samples,
                settings,
                device=device,
                with_masks=has_masks(data.samples),
                shortlist=shortlist,
                advance=advance,
            )
            results[name] = totals.result()
            if shortlist and run and painter:
                save_pictures(shortlist.pictures(), painter, run.heatmaps_dir / data.name)
    return build_rows(method, data.name, results, settings, record)


def measure(
    method: Method,
    samples: Sequence[Sample],
    settings: EvalSettings,
    *,
    device: torch.device,
    with_masks: bool,
    shortlist: Shortlist | None = None,
    advance: Advance | None = None,
) -> ClassTotals:
    """Totals of one class, or of a shard of its samples (shards merge). Random streams are seeded at the start."""
    totals = ClassTotals(settings)
    training = method.training
    method.eval()
    seed_streams(settings.seed, method)
    start = time.perf_counter()
    loader = make_loader(
        samples, method.transform, batch_size=settings.batch_size, workers=settings.workers, with_masks=with_masks
    )
    for batch in loader:
        batch = batch.to(device)
        with torch.no_grad(), autocast(settings.amp, device):
            prediction = method.predict(batch)
        totals.update(prediction, batch)
        if shortlist is not None:
            shortlist.offer(prediction, batch)
        if advance is not None:
            advance(len(batch), {})
    totals.seconds = time.perf_counter() - start
    method.train(training)
    return totals


def sample_pictures(
    method: Method, data: EvalData, settings: EvalSettings, count: int, *, device: torch.device
) -> list[Picture]:
    """Pictures of `count` anomalous images, taken from the classes of `data` in turn: a look during training."""
    by_class = [[s for s in data.samples if s.class_name == name and s.label == 1] for name in data.classes]
    longest = max(len(samples) for samples in by_class)
    chosen = [samples[i] for i in range(longest) for samples in by_class if i < len(samples)][:count]
    shortlist = Shortlist(count, method)
    if chosen:
        measure(method, chosen, settings, device=device, with_masks=has_masks(data.samples), shortlist=shortlist)
    return sorted(shortlist.pictures(), key=lambda picture: (picture.class_name, picture.key))
