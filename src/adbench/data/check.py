"""Checks a data set on disk against what was published and against itself, quickly: 10,000 files in seconds.

Found are: classes and numbers of images that differ from the published ones, missing images and masks, files that
cannot be read or were cut short, masks of another size than their image, and identical images. Files are read only as
far as needed: header and end of each, and whole only those that have the same size as another one. With `decode` every
pixel is read.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from adbench.data.catalogue import DatasetSpec, Progress, fingerprint
from adbench.data.check_contents import Looked, doubts, notes
from adbench.data.containers import content_sha256, content_size, file_of
from adbench.data.gaps import tolerated
from adbench.data.images import marks, misfit, open_picture, read_masks
from adbench.data.label_maps import open_labels
from adbench.data.probe import Probe, probe_image, probe_labels
from adbench.data.sample import Sample
from adbench.errors import UserError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_RESTORE = "restore it from the archive, or unpack the archive again"
THREADS = min(8, 2 * (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check has found: samples as far as they could be indexed, one error per problem, and what to know."""

    samples: list[Sample]
    problems: list[UserError]
    notes: list[str]

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the samples (see `catalogue.fingerprint`); None where files are missing."""
        try:
            return fingerprint(self.samples)
        except UserError:
            return None


def check_dataset(
    spec: DatasetSpec,
    root: Path,
    *,
    classes: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    decode: bool = False,
    progress: Progress | None = None,
) -> Checked:
    """Check the data set in `root`, or its `classes`; `decode` reads every pixel instead of headers and ends of files.

    Raises UserError where `root` does not hold the data set at all, and for an unknown class or option.
    """
    samples, faulty = _indexed(spec, root, classes, options)
    problems = list(faulty.values())
    problems += _deviating(spec, samples, options)
    if not classes and not options:
        problems += _absent(spec, {sample.class_name for sample in samples} | set(faulty))
    problems += _unmasked(samples)
    looked = _opened(samples, decode, progress)
    problems += [fault for one in looked for fault in one.faults]
    problems += doubts(looked)
    problems += _repeated(samples)
    return Checked(samples, list({str(problem): problem for problem in problems}.values()), notes(looked, spec.sizes))


def _indexed(
    spec: DatasetSpec, root: Path, classes: Sequence[str] | None, options: Mapping[str, Any] | None
) -> tuple[list[Sample], dict[str, UserError]]:
    """All samples, also those of missing files; by class what keeps it from being indexed."""
    with tolerated():
        try:
            return spec.index(root, classes, options), {}
        except UserError as error:
            whole = error
        samples: list[Sample] = []
        faulty: dict[str, UserError] = {}
        for name in classes or spec.classes:
            try:
                samples += spec.index(root, [name], options)
            except UserError as error:
                if not error.unknown_name:  # otherwise it is not there, and is named as absent
                    faulty[name] = error
    if whole.unknown_name or (not samples and not (spec.marks and spec.is_raw(root))):
        raise whole
    return samples, faulty or {spec.name: whole}


def _deviating(spec: DatasetSpec, samples: Sequence[Sample], options: Mapping[str, Any] | None) -> Iterator[UserError]:
    for line in spec.deviations(samples, options):
        yield UserError(line, mend="unpack the archive again; a part of the classes: data.classes='[a,b]'")


def _absent(spec: DatasetSpec, present: Collection[str]) -> Iterator[UserError]:
    if not set(present) <= {*spec.classes, spec.name}:
        return  # a meta.json that calls the classes otherwise
    for name in spec.classes:
        if name not in present and spec.name not in present:
            yield UserError(
                f"class {spec.name}/{name} is missing", mend="unpack the whole archive, or name data.classes='[a,b]'"
            )


def _unmasked(samples: Sequence[Sample]) -> Iterator[UserError]:
    """Anomalous images without a mask in classes where others have one."""
    annotated = {sample.class_name for sample in samples if sample.mask_path is not None and sample.label == 1}
    for sample in samples:
        if sample.label == 1 and sample.mask_path is None and sample.class_name in annotated:
            yield UserError("an anomalous image has no mask", where=str(sample.path), mend="add the mask to the index")


def _opened(samples: Sequence[Sample], decode: bool, progress: Progress | None) -> list[Looked]:
    unique = list({(sample.path, sample.mask_path): sample for sample in samples}.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's, about files that are then found to be broken
        return _in_threads(lambda sample: _look(sample, decode), unique, progress)


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
            looked.marked = float(marks(sample, masks).mean()) if image.size is not None else None
            looked.faint = max(mask.faint for mask in masks)
        except UserError as error:
            faults.append(error)
    return looked


def _faults_of_overlay(sample: Sample, path: Path, decode: bool) -> Iterator[UserError]:
    where = f"{path}, of image {sample.path}"
    if not path.is_file():
        yield UserError("overlay file is missing", where=where, mend=_RESTORE)
    elif not zipfile.is_zipfile(path):  # an .npz has its table of contents at the end
        yield UserError("overlay file cannot be read: it may be truncated", where=where, mend=_RESTORE)
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


def _repeated(samples: Sequence[Sample]) -> Iterator[UserError]:
    """Groups of images with the same content, in one split or across splits. Sizes first: few files are read."""
    owners: dict[Path, Sample] = {}
    for sample in samples:
        if sample.overlay_path is None:
            owners.setdefault(file_of(sample.path), sample)
    sizes = {path: _size(path) for path in owners}
    several = {size for size, n in Counter(sizes.values()).items() if n > 1 and size is not None}
    alike = [path for path in owners if sizes[path] in several]
    groups: dict[str, list[Path]] = {}
    for path, digest in zip(alike, _in_threads(_digest, alike), strict=True):
        if digest is not None:
            groups.setdefault(digest, []).append(path)
    for group in groups.values():
        if len(group) > 1:
            yield _repetition([owners[path] for path in group])


def _repetition(group: Sequence[Sample]) -> UserError:
    splits = sorted({sample.split for sample in group})
    shown = ", ".join(f"{sample.key} ({sample.split}, {sample.class_name})" for sample in group[:4])
    across = f" across {' and '.join(splits)}" if len(splits) > 1 else ""
    return UserError(
        f"{len(group)} images are identical{across}",
        where=shown + (f" and {len(group) - 4} more" if len(group) > 4 else ""),
        mend="keep one of them, or get the archive again",
    )


def _size(path: Path) -> int | None:
    try:
        return content_size(path)
    except OSError:  # missing: said elsewhere
        return None


def _digest(path: Path) -> str | None:
    try:
        return content_sha256(path)
    except UserError:  # unreadable: said elsewhere
        return None


def _in_threads(
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
