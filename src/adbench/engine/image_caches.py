"""The image caches of an evaluation, one per class: written before it where they are not there yet, shared by ranks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from adbench.data.image_cache import ImageCache
from adbench.data.loading import make_loader
from adbench.data.sample import Sample
from adbench.data.transforms import PixelTransform, SceneTransform
from adbench.engine import ranks
from adbench.engine.auto_sizes import n_workers
from adbench.engine.progress import Reporter
from adbench.engine.settings import EvalSettings
from adbench.errors import UserError
from adbench.methods.base import Method

FOLDER = "outputs/images"
"""Where images are kept with eval.image_cache=true."""
_AT_A_TIME = 8


def image_caches(
    method: Method,
    classes: Mapping[str, Sequence[Sample]],
    settings: EvalSettings,
    reporter: Reporter,
    *,
    device: torch.device,
    with_masks: bool,
) -> dict[str, ImageCache]:
    """The caches of all classes; none where that is not asked for. Says how much is written before it is.

    Of several ranks each writes a part. Raises UserError where there is no room.
    """
    if not settings.image_cache or not classes:
        return {}
    transform = method.transform
    labelled = any(sample.label_ids is not None for samples in classes.values() for sample in samples)
    if labelled or not isinstance(transform, PixelTransform) or isinstance(transform, SceneTransform):
        reporter.say(
            f"images       not kept, although eval.image_cache={settings.image_cache}: they keep their own size"
        )
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
        _admit(folder, [caches[name] for name in missing], reporter)
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


def _admit(folder: Path, caches: Sequence[ImageCache], reporter: Reporter) -> None:
    n_images, n_bytes = sum(map(len, caches)), sum(cache.n_bytes for cache in caches)
    what = f"{n_images} images of {len(caches)} classes take {n_bytes / 1e6:,.0f} MB in {folder}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(f"the image cache cannot be written: {error}", where="eval.image_cache") from error
    if n_bytes >= free:
        hint = "name a folder with room, or use eval.image_cache=false"
        raise UserError(f"{what}, and {free / 1e6:,.0f} MB are free", where="eval.image_cache", hint=hint)
    reporter.say(f"images       {what}, written once")
