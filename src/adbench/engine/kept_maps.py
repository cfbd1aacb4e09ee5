"""Anomaly maps that an evaluation keeps (`eval.maps`): one .npz file per class, written as the images stream by.

<run>/maps/<data set>/<class>.npz, for numpy.load, nothing pickled:
    paths                 (N,) keys of the class's images, sorted
    shots, support_seed   (D,) of each draw of support sets; -1: none, or unknown
    map/<draw>/<image>    (H, W) float32 or float16, of the size that the method gives; higher = more anomalous
    mask/<image>          (H', W') uint8, what maps are measured by, at its size: 1 anomalous, 0 normal, 255 unknown (of
                          roads); not there where the data have no masks
    defects/<image>       (N, h, w) uint8, where metrics of single defects were asked for: each at the image's size;
    saturations/<image>   (N, 2) threshold, and 1 where it is a share of the defect; NaN where unknown
<draw> and <image> count from 0. A file appears when its class is finished, whole or not at all.
"""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adbench.atomic import naming, replacing
from adbench.data.defects import DefectMask
from adbench.data.sample import Batch, Sample
from adbench.engine import ranks
from adbench.engine.accumulators import as_arrays
from adbench.engine.image_size import masks_at_image_size
from adbench.engine.names import file_name, file_names
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, KeepMaps
from adbench.errors import UserError
from adbench.methods.base import Prediction

_HINT = "evaluate again with eval.maps=true"


def maps_files(run: RunFolder, dataset: str, classes: Sequence[str]) -> dict[str, Path]:
    """Where the maps of each of all classes of a data set are kept."""
    folder = run.maps_dir / file_name(dataset)
    return {name: folder / f"{short}.npz" for name, short in file_names(classes).items()}


class KeptMap(NamedTuple):
    """A map (H, W) of an image in a draw of support sets, its mask (H', W') of 0, 1 and 255, and its defects at the
    image's `size` (height, width); None where they were not kept."""

    path: str
    shots: int | None
    support_seed: int | None
    map: NDArray[np.floating[Any]]
    mask: NDArray[np.uint8] | None
    defects: list[DefectMask] | None
    size: tuple[int, int] | None


class MapWriter:
    """The maps of one class on their way to `file`; a context: at its end the file is there, unless something failed.

    `images`: the keys of all images of the class; `keep`: the type of the numbers (true: float32);
    `image_size`: masks are kept at the size of the images.
    """

    def __init__(self, file: Path, images: Sequence[str], keep: KeepMaps, *, image_size: bool = False) -> None:
        self._image_size = image_size
        self._file = _file_of(file, ranks.rank())
        self._others = [_file_of(file, rank) for rank in range(1, ranks.count())]
        self._paths = sorted(images)
        self._numbers = {path: number for number, path in enumerate(self._paths)}
        self._dtype = np.dtype(np.float16 if keep == "float16" else np.float32)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> MapWriter:
        self._file.unlink(missing_ok=True)  # of an earlier evaluation
        temporary = self._stack.enter_context(replacing(self._file))
        self._zip = self._stack.enter_context(zipfile.ZipFile(temporary, "w"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def add(self, draw: int, prediction: Prediction, batch: Batch) -> None:
        """Write the maps of a batch, with the support sets of draw number `draw`; masks with the first draw."""
        if prediction.maps is None:
            hint = "leave out eval.maps, or choose a method that localises"
            raise UserError("the method gives no anomaly maps to keep", where="eval.maps", hint=hint)
        for i, (path, map_) in enumerate(zip(batch.paths, as_arrays(prediction.maps), strict=True)):
            with np.errstate(over="ignore"):
                values = np.asarray(map_, self._dtype)
            if not np.array_equal(np.isfinite(values), np.isfinite(map_)):
                raise UserError(
                    f"the anomaly map of {path} goes beyond what {self._dtype} holds",
                    where="eval.maps",
                    hint="keep the maps as float32",
                )
            self._write(f"map/{draw}/{self._numbers[path]}", values)
            if draw == 0 and batch.truth is not None:
                whole = masks_at_image_size(batch)[i] if self._image_size else None
                mask = np.asarray(batch.truth[i].cpu().numpy() if whole is None else whole, np.uint8)
                self._write(f"mask/{self._numbers[path]}", mask, zipfile.ZIP_DEFLATED)
                self._write_defects(self._numbers[path], batch, i)

    def _write_defects(self, number: int, batch: Batch, i: int) -> None:
        """Write the defects of image `i` of a batch, where they were loaded."""
        if batch.defects is not None and batch.sizes is not None:
            defects = batch.defects[i]
            masks = np.asarray([defect.mask for defect in defects], np.uint8).reshape(-1, *batch.sizes[i])
            pairs = [defect.saturation or (np.nan, np.nan) for defect in defects]
            self._write(f"defects/{number}", masks, zipfile.ZIP_DEFLATED)
            self._write(f"saturations/{number}", np.asarray(pairs, np.float64).reshape(-1, 2))

    def finish(self, draws: Sequence[tuple[int | None, int | None]]) -> None:
        """Take in what other ranks have written, and write what belongs to what; `draws`: K and seed of each."""
        for other in self._others:
            with naming(other), zipfile.ZipFile(other) as written:
                for entry in written.infolist():
                    self._zip.writestr(entry, written.read(entry))
            other.unlink()
        self._write("paths", np.asarray(self._paths, np.str_))
        for name, values in zip(("shots", "support_seed"), zip(*draws, strict=True), strict=True):
            self._write(name, np.asarray([-1 if value is None else value for value in values], np.int64))

    def _write(self, name: str, values: NDArray[Any], compression: int = zipfile.ZIP_STORED) -> None:
        entry = zipfile.ZipInfo(f"{name}.npy")  # without the time: equal maps give equal files
        entry.compress_type, entry.external_attr = compression, 0o644 << 16
        with naming(self._file), self._zip.open(entry, "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)


def map_writer(
    run: RunFolder | None, data: EvalData, class_name: str, samples: Sequence[Sample], settings: EvalSettings
) -> contextlib.AbstractContextManager[MapWriter | None]:
    """What keeps the maps of a class, with all its `samples`, in a run; nothing where the settings do not ask for it.

    Raises UserError where they do and there is no run.
    """
    if not settings.maps:
        return contextlib.nullcontext()
    if run is None:
        raise UserError("anomaly maps are kept in a run's folder, and there is none", where="eval.maps")
    file = maps_files(run, data.name, data.classes)[class_name]
    return MapWriter(file, [sample.key for sample in samples], settings.maps, image_size=settings.pixel_size == "image")


def _file_of(file: Path, rank: int) -> Path:
    return file if rank == 0 else file.with_name(f"{file.stem}.rank{rank}{file.suffix}")


def read_maps(file: Path) -> Iterator[KeptMap]:
    """Yield the maps of a class, draw by draw in the order of paths, one in memory at a time.

    Raises UserError for a damaged file, and for one that no evaluation has written.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            paths = stored["paths"].tolist()
            draws = zip(stored["shots"].tolist(), stored["support_seed"].tolist(), strict=True)
            for draw, (shots, seed) in enumerate(draws):
                for number, path in enumerate(paths):
                    yield KeptMap(
                        path,
                        None if shots < 0 else shots,
                        None if seed < 0 else seed,
                        stored[f"map/{draw}/{number}"],
                        stored.get(f"mask/{number}"),
                        *_defects(stored.get(f"defects/{number}"), stored.get(f"saturations/{number}")),
                    )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"the kept maps cannot be read: {error}", where=str(file), hint=_HINT) from error


def _defects(
    masks: NDArray[Any] | None, saturations: NDArray[Any] | None
) -> tuple[list[DefectMask] | None, tuple[int, int] | None]:
    if masks is None or saturations is None:
        return None, None
    pairs = [None if np.isnan(threshold) else (float(threshold), bool(share)) for threshold, share in saturations]
    defects = [DefectMask(mask > 0, pair) for mask, pair in zip(masks, pairs, strict=True)]
    return defects, (int(masks.shape[1]), int(masks.shape[2]))
