"""The encoded test images of a class, for a method that scores them together: in memory, and on disk above a limit.

TEMPORARY FOLDER/adbench-features-*/000000.safetensors   the tensors of one batch; all go with the last use
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from adbench.data.image_cache import ImageCache
from adbench.data.loading import BatchLoader, make_loader
from adbench.data.sample import Batch, Sample
from adbench.engine.auto_sizes import n_workers
from adbench.engine.device import autocast, on_device
from adbench.engine.feature_folder import FeatureFolder
from adbench.engine.progress import Advance
from adbench.engine.room import Room
from adbench.engine.settings import EvalSettings
from adbench.errors import UserError
from adbench.methods.base import Chunk, Features, Method

Encoded = tuple[Batch, Features, float]
"""A batch, its frozen features, and the seconds that loading and encoding took."""
_FEATURES = "features/"


class EncodedClass:
    """All batches of a class, encoded once, to be read any number of times: by `chunks`, and whole by iteration.

    Tensors lie in the machine's memory, those beyond `memory_limit` bytes in a temporary folder, and come to their
    device when they are asked for: a feature that nobody reads stays on the disk.
    Raises UserError where the disk has no room.
    """

    def __init__(
        self, encoded: Iterable[Encoded], memory_limit: int, *, progress: Callable[[int], object] = bool
    ) -> None:
        self.further_seconds = 0.0
        """What each batch has taken since it was encoded."""
        self._room, self.device = memory_limit, torch.device("cpu")
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._batches: list[tuple[Batch, Mapping[str, Tensor], float]] = []
        n_images = 0
        for batch, features, seconds in encoded:
            self.device = batch.images.device
            tensors = {"images": batch.images, "labels": batch.labels, **batch.annotations}
            tensors |= {f"{_FEATURES}{name}": values for name, values in features.items()}
            self._batches.append((batch.bare, self._put(tensors), seconds))
            n_images += len(batch)
            progress(n_images)

    @property
    def spilled(self) -> bool:
        """Whether some of it lies on disk."""
        return self._folder is not None

    @property
    def chunks(self) -> Sequence[Chunk]:
        """Features and paths of each batch, as `Method.relate` takes them."""
        return [(self._features(tensors), tuple(batch.paths)) for batch, tensors, _ in self._batches]

    def __iter__(self) -> Iterator[Encoded]:
        for batch, tensors, seconds in self._batches:
            fields: dict[str, Any] = {
                name: values for name, values in tensors.items() if not name.startswith(_FEATURES)
            }
            yield replace(batch, **fields).to(self.device), self._features(tensors), seconds + self.further_seconds

    def _features(self, tensors: Mapping[str, Tensor]) -> Features:
        return _OnDevice(tensors, self.device)

    def _put(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        plain = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
        size = sum(value.nbytes for value in plain.values())
        if size <= self._room:
            self._room -= size
            return plain
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="adbench-features-", ignore_cleanup_errors=True)
            path = Path(self._folder.name) / f"{len(self._batches):06d}.safetensors"
            path.write_bytes(save(plain))
        except OSError as error:
            raise UserError(
                f"cannot write features to disk: {error}",
                where=tempfile.gettempdir(),
                hint="raise eval.memory_limit_mib, or name a folder with room in $TMPDIR",
            ) from error
        return _File(path, tuple(plain))


def relate(
    method: Method,
    banks: list[dict[str, Any]],
    batches: Iterable[Encoded],
    samples: Sequence[Sample],
    settings: EvalSettings,
    advance: Advance,
) -> EncodedClass:
    """Encode the whole class; what `method` makes of it goes into a copy of each of `banks`, which takes its place."""
    limit = settings.memory_limit_mib << 20
    encoded = EncodedClass(batches, limit, progress=lambda n: advance(0, {"encoded": n / len(samples)}))
    begin = time.perf_counter()
    for number, bank in enumerate(banks):
        method.memory_bank = banks[number] = dict(bank)
        with torch.no_grad(), autocast(settings.amp, encoded.device):
            method.relate(
                samples[0].class_name,
                encoded.chunks,
                strata=[sample.defect for sample in samples] if method.divides_by_label else None,
                progress=lambda share: advance(0, {"related": share}),
            )
    encoded.further_seconds = (time.perf_counter() - begin) / len(banks) / len(encoded.chunks)
    return encoded


class _File(Mapping[str, Tensor]):
    """The tensors of a file, each read when it is asked for."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path, self._names = path, names

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _OnDevice(Mapping[str, Tensor]):
    """The features among some tensors, each brought to the device when it is asked for."""

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        self._tensors, self._device = tensors, device

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[f"{_FEATURES}{name}"].to(self._device, non_blocking=True)

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(_FEATURES) for name in self._tensors if name.startswith(_FEATURES))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def encoded(
    method: Method,
    samples: Sequence[Sample],
    settings: EvalSettings,
    *,
    device: torch.device,
    with_masks: bool,
    loaded: Iterable[Batch] | None = None,
    folder: FeatureFolder | None = None,
    room: Room | None = None,
) -> Iterator[Encoded]:
    """Load and encode the samples, batch by batch.

    loaded  their batches, from a loader that serves others too
    folder  where features are kept and taken from
    room    for how many images at a time there is memory, learnt before and for later
    """
    method.eval()
    encode = partial((room or Room()).encode, method)
    if loaded is None:
        (loaded,) = class_loaders(method, [(samples, None)], settings, device=device, with_masks=with_masks)
    start = time.perf_counter()
    for batch in loaded:
        batch = on_device(batch, method.transform, device)
        begin = time.perf_counter()
        with torch.no_grad(), autocast(settings.amp, device):
            features, seconds = (encode(batch), None) if folder is None else folder.encode(batch, encode)
        if seconds is None:
            seconds = time.perf_counter() - begin
        yield batch, features, begin - start + seconds
        start = time.perf_counter()


def class_loaders(
    method: Method,
    classes: Sequence[tuple[Sequence[Sample], ImageCache | None]],
    settings: EvalSettings,
    *,
    device: torch.device,
    with_masks: bool,
) -> list[BatchLoader]:
    """The batches of each class, from its image cache where it has one."""
    on_gpu = device.type == "cuda"
    return [
        make_loader(
            samples,
            method.transform,
            batch_size=1 if method.mixes_batch else settings.images_at_a_time,
            workers=n_workers(settings.workers, device),
            with_masks=with_masks,
            with_defects=settings.needs_defects,
            as_pixels=on_gpu,
            cache=images,
            pinned=on_gpu,
        )
        for samples, images in classes
    ]
