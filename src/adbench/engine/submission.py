"""The archive that the server of MVTec AD 2 measures: maps of the images whose labels are held back.

<folder>/anomaly_images/<object>/<split>/NAME.tiff               float16 (H, W), the size of the image
<folder>/anomaly_images_thresholded/<object>/<split>/NAME.png    0 and 255: where a map is above the threshold
<folder>.tar.gz                                                  all of it, below the folder's own name

NAME is that of the image. Half precision neither holds all scores nor tells all of them apart, so those of an object,
all its images alike, are scaled linearly: from the lowest to the highest score, to 0 ... 2^15. The threshold is the
mean + 3 standard deviations of all pixels of the object's validation images; it is applied to the scores themselves.
"""

from __future__ import annotations

import io
import math
import shutil
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from adbench.atomic import replacing, write_bytes
from adbench.data.images import stored_size
from adbench.data.sample import Sample
from adbench.engine import ranks
from adbench.engine.accumulate import accumulate
from adbench.engine.adapt import build_memory_banks
from adbench.engine.image_size import check_sees_all, resized
from adbench.engine.kept_maps import MapWriter, read_maps
from adbench.engine.progress import Reporter
from adbench.engine.settings import EvalData, EvalSettings
from adbench.engine.validation_thresholds import validation_moments
from adbench.engine.weights import file_sha256
from adbench.errors import UserError
from adbench.methods.base import Method

MAPS, THRESHOLDED = "anomaly_images", "anomaly_images_thresholded"
_WHERE = "submission"
_TOP = 2**15


@dataclass(frozen=True)
class Submission:
    """What is to be submitted: a method's maps of `samples`, into `folder` and the archive beside it."""

    method: Method
    data: EvalData
    samples: Sequence[Sample]
    folder: Path

    @property
    def archive(self) -> Path:
        """The file for the server."""
        return self.folder.with_name(f"{self.folder.name}.tar.gz")

    def check(self) -> None:
        """Raise UserError where there can be no such archive; before the first image is scored."""
        for place in (self.folder, self.archive):
            if place.exists() and not (place.is_dir() and not any(place.iterdir())):
                hint = "name a folder that is not there"
                raise UserError("there is something already", where=f"{_WHERE}={place}", hint=hint)
        _refuse(self.method.transductive, f"method {self.method.name} scores images by one another", "another method")
        _refuse(self.method.selects_on_test, f"method {self.method.name} chooses by labels of the test", "another one")
        _refuse(len(self.data.supports) > 1, "an archive holds one result", "one support.k and one support.seed")
        drawn = any(k for k, _ in self.data.supports)
        _refuse(self.method.fits and drawn, f"method {self.method.name} would be fitted twice", "its run as checkpoint")
        _refuse(ranks.count() > 1, "an archive is written by one process", "the command without torchrun")
        check_sees_all(self.method, _WHERE)
        validated = {sample.class_name for sample in self.data.validation}
        for name in dict.fromkeys(sample.class_name for sample in self.samples):
            _refuse(name not in validated, f"{name} has no validation images", "the whole data set")

    def write(self, settings: EvalSettings, *, device: torch.device, reporter: Reporter) -> dict[str, Any]:
        """Score, write and check the folder, and pack it; return what the archive rests on. Whole, or not at all."""
        partial = self.folder.with_name(f".{self.folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            scales = dict(self._scored(partial, settings, device, reporter))
            check_folder(partial, self.samples)
            shutil.rmtree(self.folder, ignore_errors=True)  # an empty one
            partial.rename(self.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            partial.with_name(f"{partial.name}.npz").unlink(missing_ok=True)
        with replacing(self.archive) as temporary, tarfile.open(temporary, "w:gz", compresslevel=1) as packed:
            packed.add(self.folder, arcname=self.folder.name)
        return {
            "archive": str(self.archive),
            "archive_sha256": file_sha256(self.archive),
            "n_images": len(self.samples),
            "maps": f"float16 of (score - low) / (high - low) * {_TOP}, at the size of the image",
            "threshold": "mean + 3 deviations of all pixel scores of the validation images; score > threshold",
            "scales": scales,
        }

    def _scored(
        self, folder: Path, settings: EvalSettings, device: torch.device, reporter: Reporter
    ) -> Iterator[tuple[str, dict[str, float]]]:
        """Write the files, object by object; yield what each is scaled by."""
        with reporter.track("submission", len(self.samples)) as advance:
            for name in dict.fromkeys(sample.class_name for sample in self.samples):
                samples = [sample for sample in self.samples if sample.class_name == name]
                bank = self._memory_bank(name, settings, device)
                validation = [sample for sample in self.data.validation if sample.class_name == name]
                moments = validation_moments(self.method, validation, settings, bank, device=device, image_size=True)[1]
                file = folder.with_name(f"{folder.name}.npz")
                with MapWriter(file, [sample.key for sample in samples], True) as maps:
                    accumulate(
                        self.method,
                        samples,
                        settings,
                        device=device,
                        with_masks=False,
                        memory_banks=[bank],
                        maps=maps,
                        advance=advance,
                    )
                    maps.finish([(None, None)])
                yield name, _write_maps(folder, file, samples, moments.threshold())
                file.unlink()

    def _memory_bank(self, name: str, settings: EvalSettings, device: torch.device) -> dict[str, Any]:
        sets = [by_class[name] for by_class in self.data.supports.values() if name in by_class]
        if not self.method.adapts or not sets:
            return self.method.memory_bank
        return build_memory_banks(self.method, sets, settings, device=device)[0]


def _refuse(fault: bool, what: str, instead: str) -> None:
    if fault:
        raise UserError(what, where=_WHERE, hint=f"give {instead}")


def _write_maps(folder: Path, file: Path, samples: Sequence[Sample], threshold: float) -> dict[str, float]:
    """Write both files of every image of an object from its kept maps; return what they are scaled by."""
    import tifffile

    ranges = [(float(kept.map.min()), float(kept.map.max())) for kept in read_maps(file)]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    _refuse(not 0 < high - low < math.inf, f"the maps of {samples[0].class_name} are all the same", "another method")
    by_key = {sample.key: sample for sample in samples}
    for kept in read_maps(file):
        sample = by_key[kept.path]
        size = stored_size(sample.path, sample.reading)
        scores = resized(torch.from_numpy(kept.map), size).numpy().astype(np.float64)
        scaled = ((scores - low) / (high - low) * _TOP).astype(np.float16)
        tiff, png = io.BytesIO(), io.BytesIO()
        tifffile.imwrite(tiff, scaled, compression="zlib", compressionargs={"level": 1}, metadata=None)
        Image.fromarray((scores > threshold).astype(np.uint8) * 255).save(png, format="PNG")
        for path, content in zip(_files_of(folder, sample), (tiff, png), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content.getvalue())
    return {"low": low, "high": high, "threshold": threshold}


def _files_of(folder: Path, sample: Sample) -> tuple[Path, Path]:
    """The two files of an image."""
    place = Path(sample.class_name, sample.split, sample.path.stem)
    return folder / MAPS / place.with_suffix(".tiff"), folder / THRESHOLDED / place.with_suffix(".png")


def check_folder(folder: Path, samples: Sequence[Sample]) -> None:
    """Hold a folder against what the server's own check wants, and every file's size against its image.

    Raises UserError for the first file that is missing, too much, of another type or of another size.
    """
    expected = {path: sample for sample in samples for path in _files_of(folder, sample)}
    places = {parent for path in expected for parent in path.parents if folder in parent.parents}
    for path in sorted(folder.rglob("*")):
        if path not in expected and path not in places:
            raise UserError("a file or folder does not belong to the submission", where=str(path), hint="remove it")
    for path, sample in expected.items():
        if not path.is_file():
            raise UserError("a file of the submission is missing", where=str(path), hint="write it again")
        size = _float16_size(path) if path.suffix == ".tiff" else _binary_size(path)
        if size != stored_size(sample.path, sample.reading):
            raise UserError(f"a map has another size than its image: {size}", where=str(path), hint="write it again")


def _float16_size(path: Path) -> tuple[int, int]:
    """Height and width of a map. Raises UserError for a file that is cut, or of anything but one half-precision map."""
    import tifffile

    try:
        map_ = tifffile.imread(path)
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"the map cannot be read: {error}", where=str(path), hint="write it again") from error
    if map_.dtype != np.float16 or map_.ndim != 2:
        raise UserError("the map does not hold one number of half precision per pixel", where=str(path))
    return map_.shape


def _binary_size(path: Path) -> tuple[int, int]:
    """Height and width of a thresholded map. Raises UserError for values other than 0 and 255."""
    with Image.open(path) as image:
        colours = image.getcolors() if image.mode == "L" else None
        if colours is None or not {value for _, value in colours} <= {0, 255}:
            raise UserError("a thresholded map holds more than 0 and 255", where=str(path), hint="write it again")
        return image.height, image.width


def private_samples(
    samples: Sequence[Sample], published: Mapping[str, Mapping[str, int]], lights: Mapping[str, str]
) -> list[Sample]:
    """The images for the server, all of them: `published` split -> class -> number, `lights` split -> end of names.

    Raises UserError where one is missing or too much: the server would refuse the archive.
    """
    chosen = [sample for sample in samples if sample.split in lights]
    for split, numbers in published.items():
        for name, n in numbers.items():
            present = {sample.path.stem for sample in chosen if (sample.split, sample.class_name) == (split, name)}
            wanted = {f"{number:03d}_{lights[split]}" for number in range(n)}
            if present != wanted:
                first = min(present ^ wanted)
                what = f"{split} of {name} holds {len(present)} images and the server wants {n}; {first} is "
                what += "missing" if first in wanted else "too much"
                hint = "unpack the whole data set, and leave out data.classes"
                raise UserError(what, where=_WHERE, hint=hint)
    return chosen
