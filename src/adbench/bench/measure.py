"""One row of a benchmark: a method on a backbone, at one size, batch, precision and device."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from adbench.bench.clock import PartClock, clock_for, watching
from adbench.bench.memory import peak_of
from adbench.bench.pictures import make_pictures
from adbench.clip import Clip
from adbench.data.loading import load_batch
from adbench.data.sample import Sample
from adbench.data.support import SupportSettings, draw_supports
from adbench.engine.adapt import build_memory_banks
from adbench.engine.device import autocast
from adbench.engine.evaluate import evaluate
from adbench.engine.optim import build_optimizer, take_step
from adbench.engine.profile import Profile
from adbench.engine.progress import Quiet
from adbench.engine.settings import EvalData, EvalSettings, MetricSet, TrainSettings
from adbench.engine.train_batches import TrainBatches
from adbench.errors import UserError
from adbench.methods.base import Method

_T = TypeVar("_T")
Row = dict[str, Any]
_LEAST_OF_A_CLASS = 8  # images of a class that a method scores as a whole


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured. `training`: None where the method is not trained, or nobody asks.

    shots     normal images that the method compares with; in training too, where it learns so
    repeats   the best of so many is taken, after one to warm up
    n_images  pictures of the whole evaluation; None: two batches, and eight for a method that scores a class as a whole
    side      height of the made pictures in pixels; they are decoded, resized and scored
    pictures  folder in which made pictures stay for the next case; None: they go
    trace     file for a Chrome trace of one more evaluation; None: none
    """

    method: Method
    settings: EvalSettings
    training: TrainSettings | None
    shots: int
    device: torch.device
    repeats: int = 3
    n_images: int | None = None
    side: int = 1024
    pictures: Path | None = None
    trace: Path | None = None


def measure(case: Case) -> Row:
    """Images per second and shares of time, memory, and their ratio to a bare pass of open_clip's image tower.

    tower, encode, score, step   images per second of that alone; step: loss, gradient, optimiser on given features
    times_tower                  encode and score over the bare tower, on the same batch; of a method that relates the
                                 images of a class first, with each image's share of that
    evaluate                     images per second of the whole loop, with decoding and metrics; share_*: its parts
    adapt, relate                seconds to take in the normal images of a class, or its test images together
    *_mib                        peaks of the evaluation, and of the step
    notes                        what could not be measured, and why
    """
    size = case.settings.images_at_a_time
    with contextlib.ExitStack() as stack:
        folder = case.pictures or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="adbench-bench-")))
        n_images = case.n_images or max(2 * size, _LEAST_OF_A_CLASS if case.method.transductive else 2)
        samples = _made(case, folder, n_images, "test")
        support = _made(case, folder, case.shots, "train") if case.shots else []
        unit, _ = clock_for(case.device)
        row: Row = {"seconds": unit, "shots": case.shots or None, "n_images": len(samples)}
        row |= _alone(case, samples, support)
        row |= _evaluation(case, samples, support)
        if case.trace is not None:
            with Profile(Quiet()) as profile:
                data = _data(case, samples, support)
                evaluate(case.method, data, case.settings, device=case.device, reporter=profile)
                row["trace"] = profile.write(case.trace)[0].name
        if case.training is not None:
            # Every query has normal images beside it, where a method learns so.
            auxiliary = _made(case, folder, size + 2 * (case.shots + 1), "auxiliary")
            try:
                row |= _training_step(case, auxiliary)
            except (UserError, torch.OutOfMemoryError) as error:  # a batch that the method, or the GPU, does not take
                row["notes"] = [f"no training step: {error}"]
    return row


def _made(case: Case, folder: Path, n: int, split: str) -> list[Sample]:
    kind = "road" if case.method.supervision == "segmentation" else "objects"
    return make_pictures(
        folder / f"{kind}_{case.side}", n, side=case.side, supervision=case.method.supervision, split=split
    )


def _supports(case: Case, pool: list[Sample]) -> Any:
    if not pool:
        return {}
    first = pool[0]
    return draw_supports(SupportSettings(k=(case.shots,)), {first.class_name: pool}, dataset=first.dataset)


def _data(case: Case, samples: list[Sample], pool: list[Sample]) -> EvalData:
    road = MetricSet(name="road") if case.method.supervision == "segmentation" else MetricSet()
    return EvalData(name=samples[0].dataset, samples=samples, supports=_supports(case, pool), metric_set=road)


def _evaluation(case: Case, samples: list[Sample], pool: list[Sample]) -> Row:
    """The whole loop, once it has run on two images: libraries are loaded and sentences known, as for most of a class.

    On a GPU it is run once more for the shares, as telling its parts apart makes it slower.
    """
    data = _data(case, samples, pool)
    _, now = clock_for(case.device)
    seconds = None
    least = _LEAST_OF_A_CLASS if case.method.transductive else 2
    with peak_of(case.device) as peak:
        evaluate(case.method, _data(case, samples[:least], pool), case.settings, device=case.device)
        if case.device.type == "cuda":
            start = now()
            evaluate(case.method, data, case.settings, device=case.device)
            seconds = now() - start
        clock = PartClock(time.thread_time if now is time.process_time else now)  # each thread's own
        with watching(case.method, clock):
            evaluate(case.method, data, case.settings, device=case.device)
        shares = clock.shares()
        seconds = seconds or sum(clock.seconds.values())
    row: Row = {"evaluate": len(samples) / seconds} | {f"share_{part}": share for part, share in shares.items()}
    return row | {"host_mib": peak.host_mib, "device_mib": peak.device_mib}


def _alone(case: Case, samples: list[Sample], pool: list[Sample]) -> Row:
    """Tower, encode and score by themselves, on the first batch."""
    method, size = case.method.eval(), case.settings.images_at_a_time
    batch = load_batch(samples[:size], method.transform, with_masks=False).to(case.device)
    precision = autocast(case.settings.amp, case.device)
    row = _memories(case, samples, pool)
    with torch.no_grad(), precision:
        features = method.encode(batch)
        bare = bare_tower(method.clip, batch.images)
        calls: dict[str, Callable[[], object]] = {
            "tower": bare,
            "encode": lambda: method.encode(batch),
            "score": lambda: method.score(features, batch),
        }
        seconds = best_times(calls, case.repeats, case.device)
    relate = row.get("relate", 0.0) / len(samples)  # of an image
    row |= {name: _per_second(len(batch), value) for name, value in seconds.items()}
    method.memory_bank = {}
    height, width = batch.images.shape[-2:]
    together = seconds["encode"] + seconds["score"] + len(batch) * relate
    return row | {
        "image_px": f"{width}x{height}",
        "milliseconds": 1000 * together / len(batch),
        "times_tower": together / seconds["tower"],
    }


def _memories(case: Case, samples: list[Sample], pool: list[Sample]) -> Row:
    """Let the method take in normal images, or all test images of the class; the seconds of each."""
    method, size = case.method, case.settings.images_at_a_time
    row: Row = {}
    if pool:
        sets = list(next(iter(_supports(case, pool).values())).values())
        banks, row["adapt"] = _timed(case, lambda: build_memory_banks(method, sets, case.settings, device=case.device))
        (method.memory_bank,) = banks
    if method.transductive:
        batches = [
            load_batch(samples[start : start + size], method.transform, with_masks=False).to(case.device)
            for start in range(0, len(samples), size)
        ]
        with torch.no_grad(), autocast(case.settings.amp, case.device):
            chunks = [(method.encode(batch), batch.paths) for batch in batches]
            _, row["relate"] = _timed(case, lambda: method.relate(samples[0].class_name, chunks))
    return row


def _timed(case: Case, call: Callable[[], _T]) -> tuple[_T, float]:
    """What a call gives, and its seconds; on a GPU those of the second time, as the first one loads kernels."""
    _, now = clock_for(case.device)
    if case.device.type == "cuda":
        call()
    start = now()
    result = call()
    return result, now() - start


def _training_step(case: Case, samples: list[Sample]) -> Row:
    """One optimiser step on the features of a batch, with its peak of memory."""
    method, settings = case.method, case.training
    assert settings is not None
    feed = TrainBatches(method.train(), samples, settings, device=case.device, reporter=Quiet())
    size, batch, _ = next(feed.epoch(0))
    assert batch is not None
    with torch.no_grad(), autocast(settings.amp, case.device):
        features = method.encode(batch)
    optimizer = build_optimizer(method, settings.optimizer)
    scaler = torch.amp.GradScaler(case.device.type, enabled=settings.amp == "fp16")

    def step() -> None:
        with autocast(settings.amp, case.device):
            terms = method.loss(features, batch)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        take_step(optimizer, scaler, loss, settings.optimizer, step=0, n_steps=1)

    with peak_of(case.device) as peak:
        seconds = best_times({"step": step}, case.repeats, case.device)["step"]
    method.eval()
    return {"step": size / seconds, "step_host_mib": peak.host_mib, "step_device_mib": peak.device_mib}


def best_times(calls: Mapping[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Smallest seconds of each call, which take turns, after one turn to warm up."""
    _, now = clock_for(device)
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = now()
            call()
            if turn:
                best[name] = min(best[name], now() - start)
    return best


def bare_tower(clip: Clip, images: Tensor) -> Callable[[], object]:
    """A pass of open_clip's own image tower over a batch, in the precision that its blocks are held in: where that is
    float32, in that of autocast around the call.
    """
    visual, images = clip.model.visual, images.to(clip.dtype)
    run = partial(visual, images) if clip.kind == "convnext" else _at_size_of(images, clip)
    if clip.blocks_dtype == clip.dtype:
        return run
    return torch.autocast(clip.device.type, dtype=clip.blocks_dtype)(run)  # type: ignore[no-any-return]


def _at_size_of(images: Tensor, clip: Clip) -> Callable[[], object]:
    """The pass of a ViT, which takes no other size than its own by itself."""
    visual = clip.model.visual
    native = visual.positional_embedding
    grid = (images.shape[-2] // clip.patch_size, images.shape[-1] // clip.patch_size)
    resized = nn.Parameter(clip.positions(grid), requires_grad=False)

    def run() -> object:
        visual.positional_embedding = resized
        try:
            return visual(images)
        finally:
            visual.positional_embedding = native

    return run


def _per_second(n: int, seconds: float) -> float | None:
    return n / seconds if seconds > 1e-4 else None  # what hands its input on has no speed
