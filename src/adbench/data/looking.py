"""Looks at the files of samples: as far as is needed to tell whether they can be read, or at every pixel."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from adbench.data.check_contents import Looked
from adbench.data.images import marks, misfit, open_picture, read_masks
from adbench.data.label_maps import open_labels
from adbench.data.probe import Probe, probe_image, probe_labels
from adbench.data.sample import Sample
from adbench.data.saturation import defect_masks
from adbench.data.survey import Fault, Survey
from adbench.errors import UserError

Progress = Callable[[int, int], None]  # (done, total)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_RESTORE = "restore it from the archive, or unpack the archive again"
THREADS = min(8, 2 * (os.cpu_count() or 1))


def with_broken_files(surveyed: Survey) -> Survey:
    """The survey with a fault for each sample of which a file is there but cannot be read whole, or does not fit."""
    looked = look_at(surveyed.samples, False, None)
    broken = {(look.sample.path, look.sample.mask_path): look.faults[0] for look in looked if look.faults}
    lacking = [(sample, broken.get((sample.path, sample.mask_path))) for sample in surveyed.samples]
    faults = [Fault(sample.class_name, error, sample, "content file") for sample, error in lacking if error is not None]
    return replace(surveyed, faults=surveyed.faults + faults)


def look_at(samples: Sequence[Sample], decode: bool, progress: Progress | None) -> list[Looked]:
    """What the files of each sample show; every pixel of the images is read with `decode`."""
    unique = list({(sample.path, sample.mask_path): sample for sample in samples}.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's, about files that are then found to be broken
        return in_threads(lambda sample: _look(sample, decode), unique, progress)


def _look(sample: Sample, decode: bool) -> Looked:
    """Look at the files of one sample: at every pixel of its masks, and of its image with `decode`."""
    image = probe_image(sample.path, sample.reading, decode=decode)
    faults = [] if image.error is None else [image.error]
    if sample.overlay_path is not None and image.size is not None:
        faults += _faults_of_overlay(sample, sample.overlay_path, decode)
    looked = Looked(sample, image, faults)
    if sample.label_ids is not None:
        faults += _faults_of_labels(sample, image, decode)
    elif sample.label == 1 and sample.mask_path is not None:
        try:
            masks = read_masks(sample, None if image.size is None else (image.size[1], image.size[0]))
            if sample.saturations is not None:
                defect_masks(sample, masks)
            looked.marked = float(marks(sample, masks).mean()) if image.size is not None else None
            looked.faint = max(mask.faint for mask in masks)
        except UserError as error:
            faults.append(error)
    return looked


def _faults_of_overlay(sample: Sample, path: Path, decode: bool) -> Iterator[UserError]:
    where = f"{path}, of image {sample.path}"
    if not path.is_file():
        yield UserError("overlay file is missing", where=where, hint=_RESTORE)
    elif not zipfile.is_zipfile(path):  # an .npz has its table of contents at the end
        yield UserError("overlay file cannot be read: it may be truncated", where=where, hint=_RESTORE)
    elif decode:
        try:
            open_picture(sample)
        except UserError as error:
            yield error


def _faults_of_labels(sample: Sample, image: Probe, decode: bool) -> Iterator[UserError]:
    if sample.mask_path is None:
        return
    labels = probe_labels(sample.mask_path, image=sample.path)
    if labels.error is not None:
        yield labels.error
    elif image.size is not None and labels.size is not None:
        if labels.size != image.size:
            yield misfit(sample, sample.mask_path, labels.size, image.size)
        elif decode:
            try:
                open_labels(sample, (image.size[1], image.size[0]))
            except UserError as error:
                yield error


def in_threads(
    work: Callable[[_Item], _Result], items: Iterable[_Item], progress: Progress | None = None
) -> list[_Result]:
    """`work` on every item, results in order; reading and decoding files leaves Python's lock."""
    items = list(items)
    results = []
    with ThreadPoolExecutor(THREADS) as pool:
        for done, result in enumerate(pool.map(work, items, chunksize=1), start=1):
            results.append(result)
            if progress is not None:
                progress(done, len(items))
    return results
