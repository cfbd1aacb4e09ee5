"""The image caches of an evaluation or a training, one per class: written before it where they are not there yet."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from adbench.atomic import sweep
from adbench.data.image_cache import ImageCache, ImageCaches
from adbench.data.loading import has_masks, make_loader
from adbench.data.sample import Sample
from adbench.data.transforms import PairTransform, PixelTransform, SceneTransform
from adbench.engine import ranks
from adbench.engine.auto_sizes import n_workers
from adbench.engine.progress import Reporter
from adbench.engine.settings import EvalSettings, TrainSettings
from adbench.errors import UserError
from adbench.methods.base import Method

FOLDER = "outputs/images"
"""Where images are kept with image_cache=true."""
_AT_A_TIME = 8
_Key = TypeVar("_Key", str, tuple[str, str])


def image_caches(
    method: Method,
    classes: Mapping[_Key, Sequence[Sample]],
    settings: EvalSettings | TrainSettings,
    reporter: Reporter,
    *,
    device: torch.device,
    with_masks: bool,
) -> dict[_Key, ImageCache]:
    """The caches of all classes; none where that is not asked for. Says how much is written before it is.

    Of several ranks each writes a part. Raises UserError where there is no room.
    """
    if not settings.image_cache or not classes:
        return {}
    transform = method.transform
    labelled = any(sample.label_ids is not None for samples in classes.values() for sample in samples)
    if labelled or not isinstance(transform, PixelTransform) or isinstance(transform, SceneTransform):
        reporter.say(f"images       not kept, although {_asked(settings)}: they keep their own size")
        return {}
    folder = Path(FOLDER if settings.image_cache is True else settings.image_cache).expanduser()
    built_in = type(transform).__module__.startswith("adbench.")
    code = None if built_in or method.plugin is None else method.plugin["sha256"]
    caches = {
        name: ImageCache(folder, samples, transform, with_masks=with_masks, code=code)
        for name, samples in classes.items()
    }
    missing = ranks.broadcast([name for name, cache in caches.items() if not cache.exists()])
    if missing and ranks.is_first():
        _admit(folder, [caches[name] for name in missing], settings, reporter)
    workers = n_workers(settings.workers, device)
    with reporter.track("decode images", sum(len(classes[name]) for name in missing)) as advance:
        for name in missing[ranks.rank() :: ranks.count()]:
            loader = make_loader(
                classes[name],
                transform,
                batch_size=_AT_A_TIME,
                workers=workers,
                with_masks=with_masks,
                as_pixels=True,
            )
            caches[name].write(loader)
            advance(len(classes[name]), {})
    ranks.barrier()
    # On another machine, without a disk in common, images are decoded.
    return {name: cache for name, cache in caches.items() if cache.exists()}


def training_images(
    method: Method, samples: Sequence[Sample], settings: TrainSettings, reporter: Reporter, device: torch.device
) -> ImageCaches | None:
    """The caches of all training images, the files of their evaluation; None, with the reason said, where none is."""
    if not settings.image_cache:
        return None
    mosaics = any(settings.mosaic.get(name) for name in {sample.dataset for sample in samples})
    if mosaics or isinstance(method.transform, PairTransform):
        change = "mosaics change" if mosaics else "augmentation changes"
        reporter.say(f"images       not kept, although {_asked(settings)}: {change} them between epochs")
        return None
    classes: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        classes.setdefault((sample.dataset, sample.class_name), []).append(sample)
    caches = image_caches(method, classes, settings, reporter, device=device, with_masks=has_masks(samples))
    return ImageCaches(caches) if len(caches) == len(classes) else None


def _asked(settings: EvalSettings | TrainSettings) -> str:
    return f"{'eval' if isinstance(settings, EvalSettings) else 'trainer'}.image_cache={settings.image_cache}"


def _admit(
    folder: Path, caches: Sequence[ImageCache], settings: EvalSettings | TrainSettings, reporter: Reporter
) -> None:
    n_images, n_bytes = sum(map(len, caches)), sum(cache.n_bytes for cache in caches)
    what = f"{n_images} images of {len(caches)} classes take {n_bytes / 1e6:,.0f} MB in {folder}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(f"the image cache cannot be written: {error}", where=_asked(settings)) from error
    if n_bytes >= free:
        hint = "name a folder with room, or use image_cache=false"
        raise UserError(f"{what}, and {free / 1e6:,.0f} MB are free", where=_asked(settings), hint=hint)
    reporter.say(f"images       {what}, written once")
