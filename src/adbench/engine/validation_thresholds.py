"""Score thresholds of a class from its validation images, all normal, which no test image has a part in."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from adbench.data.loading import make_loader
from adbench.data.sample import Sample
from adbench.engine.accumulators import as_array, as_arrays, located
from adbench.engine.adapt import MemoryBank
from adbench.engine.auto_sizes import n_workers
from adbench.engine.device import autocast
from adbench.engine.image_size import at_image_size
from adbench.engine.optional_metrics import Thresholds
from adbench.engine.rng import seed_streams
from adbench.engine.settings import EvalSettings
from adbench.errors import UserError
from adbench.methods.base import Method
from adbench.metrics.metric import VALIDATION_RULE, Level
from adbench.metrics.thresholded import ScoreMoments


def check_validation(method: Method, settings: EvalSettings) -> None:
    """Raise UserError where a threshold is to come from validation images, and the method scores none by itself."""
    if settings.needs_validation and method.transductive:
        raise UserError(
            f"method {method.name} scores images by one another, so validation images give no threshold",
            where="eval.metrics",
            hint="give thresholds as numbers, as in segf1@0.5",
        )


def validation_thresholds(
    method: Method,
    samples: Sequence[Sample],
    settings: EvalSettings,
    memory_banks: Sequence[MemoryBank],
    *,
    device: torch.device,
) -> list[Thresholds]:
    """Mean + 3 standard deviations of the image scores and of the pixel scores of `samples`, for each memory bank.

    Nothing where no metric of the settings asks for it; NaN without samples, and where the method gives no such scores.
    Leaves the last memory bank in the method.
    """
    if not settings.needs_validation:
        return [{}] * len(memory_banks)
    thresholds: list[Thresholds] = []
    for bank in memory_banks:
        images, pixels = validation_moments(
            method, samples, settings, bank, device=device, image_size=settings.pixel_size == "image"
        )
        moments: tuple[tuple[Level, ScoreMoments], ...] = (("image", images), ("pixel", pixels))
        thresholds.append({(level, VALIDATION_RULE): moment.threshold() for level, moment in moments})
    return thresholds


def validation_moments(
    method: Method,
    samples: Sequence[Sample],
    settings: EvalSettings,
    bank: MemoryBank,
    *,
    device: torch.device,
    image_size: bool,
) -> tuple[ScoreMoments, ScoreMoments]:
    """Of the image scores and of the pixel scores of `samples`, scored with a memory bank, which stays in the method.

    image_size  maps are scaled up to their images first
    """
    method.eval()
    method.memory_bank = bank
    seed_streams(settings.seed, method)
    images, pixels = ScoreMoments(), ScoreMoments()
    size = 1 if method.mixes_batch else settings.images_at_a_time
    for batch in make_loader(samples, method.transform, batch_size=size, workers=n_workers(settings.workers, device)):
        batch = batch.to(device)
        with torch.no_grad(), autocast(settings.amp, device):
            prediction = method.predict(batch)
        with located(batch):
            if prediction.scores is not None:
                images.update(as_array(prediction.scores)[None])
            if prediction.maps is not None:
                pixels.update(as_arrays(at_image_size(prediction.maps, batch) if image_size else prediction.maps))
    return images, pixels
