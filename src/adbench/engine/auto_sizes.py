"""How many images at a time and how many loader processes suit the machine; no result depends on either."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch

from adbench.data.loading import load_batch
from adbench.data.sample import Sample
from adbench.data.transforms import SceneTransform
from adbench.engine import ranks
from adbench.engine.device import autocast
from adbench.engine.progress import Reporter
from adbench.engine.rng import undisturbed
from adbench.engine.settings import EvalSettings
from adbench.methods.base import Method

MOST_IMAGES = 32
"""Beyond it a GPU is no faster."""
MOST_WORKERS = 8


def n_workers(asked: int | Literal["auto"], device: torch.device) -> int:
    """Loader processes. "auto": beside a GPU one per core of this rank, up to 8; none on a CPU."""
    if asked != "auto":
        return asked
    if device.type != "cuda":
        return 0
    share = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_WORKERS, share))


def sized(
    settings: EvalSettings, method: Method, samples: Sequence[Sample], device: torch.device, reporter: Reporter
) -> EvalSettings:
    """The settings with numbers in place of "auto": on a GPU as many images as its memory permits, of all ranks' the
    fewest; on a CPU one, as more are no faster there. Says what a GPU was found to permit.
    """
    settings = replace(settings, workers=n_workers(settings.workers, device))
    if settings.batch_size != "auto":
        return settings
    alone = device.type != "cuda" or method.mixes_batch or isinstance(method.transform, SceneTransform)
    size = 1 if alone else min(ranks.gather(largest_batch(method, samples[0], settings, device)))
    if not alone:
        reporter.say(
            f"batch size   {size}: eval.batch_size=auto, up to {MOST_IMAGES} as the memory of {device} permits"
        )
    return replace(settings, batch_size=size)


def largest_batch(method: Method, sample: Sample, settings: EvalSettings, device: torch.device) -> int:
    """How often a sample fits into memory when it is scored, with as much left: halved from `MOST_IMAGES` down."""
    batch = load_batch([sample], method.transform, with_masks=False).to(device)
    method.eval()
    size = MOST_IMAGES
    while size > 1:
        try:
            with undisturbed(method), torch.no_grad(), autocast(settings.amp, device):
                # Twice as many images for a moment: later ones share the memory with what is kept of a class.
                many = batch.rows([0] * (2 * size))
                features = method.encode(many)
                if not (method.adapts or method.transductive):
                    method.score(features, many)
            return size
        except torch.OutOfMemoryError:
            size //= 2
        finally:
            many = features = None  # type: ignore[assignment]
            if device.type == "cuda":
                torch.cuda.empty_cache()
    return size
