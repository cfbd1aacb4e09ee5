"""Frozen features of the training images, encoded once and kept: in memory, or on disk for later trainings too.

    CACHE_DIR/METHOD-KEY/    KEY: hash of all that decides the features, every image's and every mask's bytes included
      cache.json             what KEY stands for
      000000.safetensors     features and masks of the first block of images; each file appears whole or not at all

Images are encoded in fixed blocks of neighbours. So a value, rounding included, depends neither on the batches of a
training nor on what was asked for before: whatever epoch, batch size or interruption, the same image has the same
features. (Encoded in another batch, they can differ in the last bits.)
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.atomic import write_json
from adbench.data.loading import has_masks, make_loader
from adbench.data.sample import Sample
from adbench.engine import ranks
from adbench.engine.auto_sizes import n_workers
from adbench.engine.device import autocast
from adbench.engine.feature_facts import BLOCK, facts_hash, feature_facts
from adbench.engine.progress import Quiet, Reporter
from adbench.engine.settings import TrainSettings
from adbench.engine.tensor_file import read_row, write_rows
from adbench.errors import UserError
from adbench.methods.base import Features, Method

_EXCHANGED = 8
"""Blocks per rank that are encoded between two exchanges: bounds what is under way."""
MEMORY_MIB = 4096
"""Memory that may be used where `cache_mib` does not say it."""
CACHE_DIR = "outputs/cache"
_MASKS = "masks"
_FEATURES = "features/"


class FeatureCache:
    """Features and masks of samples by index, encoded when they are first asked for.

    Raises UserError at once where they would take more room than there is, or than `settings.cache_mib` allows;
    with settings.cache "auto", `fits` is False then.
    """

    def __init__(
        self,
        method: Method,
        samples: Sequence[Sample],
        settings: TrainSettings,
        *,
        device: torch.device,
        reporter: Reporter,
    ) -> None:
        self._method, self._samples, self._settings = method, samples, settings
        self._device, self._reporter = device, reporter
        self._with_masks = method.features_suffice and has_masks(samples)
        self._keep: _Memory | _Disk
        if settings.cache == "disk":
            facts = feature_facts(method, samples, settings, device)
            folder = Path(settings.cache_dir or CACHE_DIR) / f"{method.name}-{facts_hash(facts)[:20]}"
            self._keep = _Disk(folder, facts)
        else:
            self._keep = _Memory(len(samples), pinned=device.type == "cuda")
        self.fits = all(ranks.gather(self._admit()))

    def rows(self, indices: Sequence[int]) -> tuple[Features, Tensor | None]:
        """Features of the samples on the device, masks (B, M, M) on the host; these are None where there are none."""
        for number in sorted({index // BLOCK for index in indices}):
            if not self._keep.has(number):
                self._encode([number])
        try:
            rows = self._keep.rows(indices)
        except UserError:  # a damaged file, which is gone now
            return self.rows(indices)
        masks = rows.pop(_MASKS, None)
        features = {
            name.removeprefix(_FEATURES): values.to(self._device, non_blocking=True) for name, values in rows.items()
        }
        return features, None if masks is None else _unpack(masks, self._method.map_size)

    def fill(self) -> None:
        """Encode whatever is not kept yet; several ranks share the work, and each keeps everything."""
        missing = ranks.broadcast([n for n in range(_n_blocks(self._samples)) if not self._keep.has(n)])
        if ranks.count() == 1:
            self._encode(missing)
            return
        for start in range(0, len(missing), _EXCHANGED * ranks.count()):
            numbers = missing[start : start + _EXCHANGED * ranks.count()]
            mine = numbers[ranks.slice_of(len(numbers))]
            self._encode([number for number in mine if not self._keep.has(number)])
            if self._keep.is_shared:
                continue
            rows = {number: self._keep.rows(self._indices(number)) for number in mine}
            for number, tensors in ((n, t) for part in ranks.gather(rows) for n, t in part.items()):
                self._keep.put(number, tensors)
        ranks.barrier()

    def _indices(self, number: int) -> range:
        return range(number * BLOCK, min((number + 1) * BLOCK, len(self._samples)))

    def close(self) -> None:
        """Release memory."""
        self._keep = _Memory(0)

    def _encode(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        reporter = self._reporter if len(numbers) > 1 else Quiet()
        with reporter.track("features", len(numbers)) as advance:
            for number, tensors in zip(numbers, self._encoded(numbers), strict=True):
                self._keep.put(number, tensors)
                advance(1, {})

    def _encoded(self, numbers: Sequence[int]) -> Iterator[dict[str, Tensor]]:
        """Tensors of each block. Only the last block of all may be short, so blocks are batches."""
        samples = [sample for n in numbers for sample in self._samples[n * BLOCK : (n + 1) * BLOCK]]
        loader = make_loader(
            samples,
            self._method.transform,
            batch_size=BLOCK,
            workers=n_workers(self._settings.workers, self._device) if len(numbers) > 1 else 0,
            with_masks=self._with_masks,
        )
        for batch in loader:
            with torch.no_grad(), autocast(self._settings.amp, self._device):
                features = self._method.encode(batch.to(self._device))
            tensors = {f"{_FEATURES}{name}": values.cpu() for name, values in features.items()}
            yield tensors if batch.masks is None else {**tensors, _MASKS: _pack(batch.masks)}

    def _admit(self) -> bool:
        """Whether there is room for all features; says how much they take. Encodes the first block to know."""
        missing = [number for number in range(_n_blocks(self._samples)) if not self._keep.has(number)]
        if not missing:
            self._reporter.say(f"features     all {len(self._samples)} are in {self._keep.place}")
            return True
        (first,) = self._encoded(missing[:1])
        n_missing = sum(len(self._samples[number * BLOCK : (number + 1) * BLOCK]) for number in missing)
        size = sum(value[0].numel() * value.element_size() for value in first.values()) * n_missing
        room, why = self._keep.room(self._settings.cache_mib)
        what = f"features of {n_missing} images take {_readable(size)}"
        if size <= room:
            self._keep.put(missing[0], first)
            self._reporter.say(f"features     {_readable(size)} for {n_missing} images, kept in {self._keep.place}")
            return True
        if self._settings.cache == "auto":
            self._reporter.say(f"features     not kept: {what}, more than {why}; trainer.cache=disk keeps them")
            return False
        raise UserError(
            f"the {what}, more than {why}",
            where=f"trainer.cache={self._settings.cache}",
            hint="raise trainer.cache_mib, choose a larger disk with trainer.cache_dir, or use trainer.cache=off",
        )


class _Memory:
    """One tensor per name, all samples along its first axis. Other ranks do not find what is put here.

    pinned  rows are given in memory that a GPU reads by itself
    """

    place, is_shared = "memory", False

    def __init__(self, n_samples: int, *, pinned: bool = False) -> None:
        self._n, self._tables, self._done, self._pinned = n_samples, dict[str, Tensor](), set[int](), pinned

    def room(self, limit_mib: int | None) -> tuple[float, str]:
        limit = MEMORY_MIB if limit_mib is None else limit_mib
        return limit << 20, f"trainer.cache_mib={limit} allows"

    def has(self, number: int) -> bool:
        return number in self._done

    def put(self, number: int, tensors: Mapping[str, Tensor]) -> None:
        start = number * BLOCK
        for name, values in tensors.items():
            if name not in self._tables:
                self._tables[name] = torch.empty((self._n, *values.shape[1:]), dtype=values.dtype)
            self._tables[name][start : start + len(values)] = values
        self._done.add(number)

    def rows(self, indices: Sequence[int]) -> dict[str, Tensor]:
        picked, rows = torch.tensor(indices), dict[str, Tensor]()
        for name, table in self._tables.items():
            place = torch.empty((len(picked), *table.shape[1:]), dtype=table.dtype, pin_memory=self._pinned)
            rows[name] = torch.index_select(table, 0, picked, out=place)
        return rows


class _Disk:
    """One file per block; only the rows asked for are read. Raises UserError for a damaged file, which it removes."""

    is_shared = True

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self._folder, self._facts, self.place = folder, facts, str(folder)

    def room(self, limit_mib: int | None) -> tuple[float, str]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the feature cache cannot be written: {error}", where=str(self._folder)) from error
        free = shutil.disk_usage(self._folder).free
        if limit_mib is not None and limit_mib << 20 < free:
            return limit_mib << 20, f"trainer.cache_mib={limit_mib} allows"
        return free, f"the {_readable(free)} free on the disk of {self._folder}"

    def has(self, number: int) -> bool:
        return self._file(number).is_file()

    def put(self, number: int, tensors: Mapping[str, Tensor]) -> None:
        note = self._folder / "cache.json"
        if not note.exists():
            write_json(note, self._facts)
        write_rows(self._file(number), tensors)

    def rows(self, indices: Sequence[int]) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {}
        for index in indices:
            number, row = divmod(index, BLOCK)
            try:
                for name, value in read_row(self._file(number), row).items():
                    parts.setdefault(name, []).append(value)
            except UserError:
                self._file(number).unlink(missing_ok=True)
                raise
        return {name: torch.cat(rows) for name, rows in parts.items()}

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06d}.safetensors"


def _n_blocks(samples: Sequence[Sample]) -> int:
    return -(-len(samples) // BLOCK)


def _pack(masks: Tensor) -> Tensor:
    """(B, M, M) bool to (B, bytes) uint8."""
    return torch.from_numpy(np.packbits(masks.flatten(1).numpy(), axis=1))


def _unpack(packed: Tensor, side: int) -> Tensor:
    """(B, bytes) uint8 to (B, M, M) bool."""
    bits = np.unpackbits(packed.numpy(), axis=1, count=side * side).astype(np.bool_)
    return torch.from_numpy(bits.reshape(-1, side, side))


def _readable(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
