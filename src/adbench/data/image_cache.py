"""Images and masks as a transform leaves them before it normalises: decoded once, kept on disk, mapped into memory.

    FOLDER/NAME-KEY.npy   one record per image; appears whole or not at all
    FOLDER/NAME.json      hashes of the files, with what tells that they have changed since, so that nobody reads them

NAME stands for the transform and for which images these are, KEY for the bytes of every file they are read from and for
all else that decides the result. So a cache of changed files, or of a plug-in that was edited, is never found; it goes
when the new one is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image

from adbench.atomic import replacing, write_json
from adbench.data.contents import Contents
from adbench.data.fingerprint import file_hashes, mark, recall, remembered
from adbench.data.items import Item, single_defects
from adbench.data.sample import Batch, Sample
from adbench.data.transforms import PixelTransform
from adbench.errors import UserError

_VERSION = 1


class ImageCache:
    """The images of `samples`, none of which has a label map. Travels to loader processes as a path, not as data."""

    def __init__(
        self,
        folder: Path,
        samples: Sequence[Sample],
        transform: PixelTransform,
        *,
        with_masks: bool = True,
        code: str | None = None,
    ) -> None:
        """Reads the bytes of files of which no cache or earlier call has the hash, or which have changed since.

        code  a hash of the transform's code, where that may change under the same name (a plug-in's)
        """
        self._rows = {(sample.dataset, sample.key): number for number, sample in enumerate(samples)}
        self._side = transform.mask(Image.new("L", (8, 8))).shape[-1] if with_masks else 0
        self._dtype = _record(transform.image_size, self._side)
        described = [_VERSION, PIL.__version__, type(transform).__qualname__, transform.describe(), with_masks]
        self._name = _hash([described, [(sample.dataset, sample.key) for sample in samples]])[:16]
        self._files = [path for sample in samples for path in sample.files]
        self._hashes = folder / f"{self._name}.json"
        with contextlib.suppress(OSError, ValueError):
            recall(json.loads(self._hashes.read_text("utf-8")))
        hashes = file_hashes(self._files)
        key = _hash([code, *(mark(sample, hashes) for sample in samples)])[:24]
        self.path = folder / f"{self._name}-{key}.npy"
        self._records: NDArray[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_records": None, "_files": ()}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def n_bytes(self) -> int:
        """What it takes on disk."""
        return len(self) * self._dtype.itemsize

    def exists(self) -> bool:
        """Whether it is written, and whole. If so, this process keeps it open, should another one replace it."""
        try:
            records = np.load(self.path, mmap_mode="r")
        except (OSError, ValueError):
            return False
        if records.dtype != self._dtype or records.shape != (len(self),):
            return False
        self._records = records
        return True

    def write(self, batches: Iterable[Batch]) -> None:
        """Keep the images of all samples, in order, from batches with pixels (uint8). Earlier versions go.

        Raises UserError where they cannot be written.
        """
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (len(self),)}
        try:
            # Not by way of a memory map: on a disk that is full by now, that ends the process.
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for batch in batches:
                    file.write(self._packed(batch).tobytes())
            for stale in self.path.parent.glob(f"{self._name}-*.npy"):
                if stale != self.path:
                    stale.unlink(missing_ok=True)
            write_json(self._hashes, remembered(self._files))
        except OSError as error:
            hint = "name a folder with room, or use image_cache=false"
            raise UserError(f"the image cache cannot be written: {error}", where=str(self.path), hint=hint) from error

    def item(self, sample: Sample, *, with_masks: bool, with_defects: bool = False) -> Item:
        """What `load_item` gives of the sample, its image as pixels (3, S, S) uint8."""
        if self._records is None:
            self._records = np.load(self.path, mmap_mode="r")
        record = self._records[self._rows[sample.dataset, sample.key]]
        mask = None
        if with_masks:
            bits = np.unpackbits(record["mask"], count=self._side**2).view(np.bool_)
            mask = torch.from_numpy(bits.reshape(self._side, self._side))
        height, width = record["size"].tolist()
        marked, peak = (None if math.isnan(value) else value for value in record["shares"].tolist())
        return Item(
            torch.from_numpy(record["pixels"].copy()),
            mask,
            (height, width),
            sample.label,
            "masks",
            Contents(marked, peak, bool(record["turned"])),
            sample.annotated,
            single_defects(sample, (width, height)) if with_masks and with_defects else None,
        )

    def _packed(self, batch: Batch) -> NDArray[Any]:
        records = np.zeros(len(batch), self._dtype)
        records["pixels"] = batch.images.numpy()
        records["size"] = batch.sizes
        if self._side:
            masks = torch.zeros(len(batch), self._side, self._side) if batch.masks is None else batch.masks
            records["mask"] = np.packbits(masks.flatten(1).bool().numpy(), axis=1)
        for record, contents in zip(records, batch.contents or (), strict=False):
            shares = (contents.marked, contents.peak)
            record["shares"] = [math.nan if share is None else share for share in shares]
            record["turned"] = contents.turned
        return records


class ImageCaches:
    """The caches of several classes as one, for batches that mix them; keys are data set and class."""

    def __init__(self, caches: Mapping[tuple[str, str], ImageCache]) -> None:
        self._caches = caches

    def item(self, sample: Sample, *, with_masks: bool, with_defects: bool = False) -> Item:
        """See `ImageCache.item`."""
        cache = self._caches[sample.dataset, sample.class_name]
        return cache.item(sample, with_masks=with_masks, with_defects=with_defects)


def _record(image_size: int, mask_size: int) -> np.dtype[Any]:
    fields = [
        ("pixels", np.uint8, (3, image_size, image_size)),
        ("mask", np.uint8, (-(-(mask_size**2) // 8),)),
        ("size", np.int64, (2,)),
        ("shares", np.float64, (2,)),
        ("turned", np.bool_),
    ]
    return np.dtype(fields)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()
