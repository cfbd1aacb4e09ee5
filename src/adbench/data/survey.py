"""What an index lists, held against the disk: the one place that finds missing, repeated and contradictory entries.

An index function yields `Sample`s whether or not their files are there, a `Fault` for a part of a class that it cannot
tell samples of, and a `Note`. `survey` finds what is wrong with the samples; whether that is an error or is left out
is said by the option `data.broken`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adbench.data.containers import file_of
from adbench.data.disk import Disk
from adbench.data.images import open_image
from adbench.data.masks import nearest
from adbench.data.sample import Sample
from adbench.data.stems import composed, folded, is_image
from adbench.errors import UserError

BROKEN = "broken"
"""The option of every set that says what becomes of what cannot be used."""
CHOICES = ("error", "skip")
OTHERWISE = "data.broken=skip leaves them out"


@dataclass(frozen=True, slots=True)
class Fault:
    """What keeps a sample from being used, or, without one, a whole class or the part of it that `error` names.

    `kind` tells faults of one kind: they are told together. "file": whoever opens the sample's files finds it too.
    """

    class_name: str
    error: UserError
    sample: Sample | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be known of what an index has read; `in_rows`: by readers of results too."""

    text: str
    in_rows: bool = False


Entry = Sample | Fault | Note


@dataclass(frozen=True, slots=True)
class Survey:
    """All samples that an index lists, what is wrong with them, and what is to be known."""

    listed: list[Sample]
    faults: list[Fault]
    notes: list[Note]

    @property
    def samples(self) -> list[Sample]:
        """Those without faults."""
        faulty = {id(fault.sample) for fault in self.faults}
        return [sample for sample in self.listed if id(sample) not in faulty]

    def error(self) -> UserError | None:
        """The first fault, together with all others of its kind; None where there is none."""
        return _together(self.faults, self.listed) if self.faults else None

    def left_out(self) -> list[str]:
        """For each class and kind of fault, what `samples` lacks."""
        groups: dict[tuple[str, str], list[Fault]] = {}
        for fault in self.faults:
            groups.setdefault((fault.class_name, fault.kind or str(fault.error)), []).append(fault)
        lines = []
        for (name, _), group in groups.items():
            n = sum(fault.sample is not None for fault in group)
            what = f"{n} image{'s' * (n > 1)} of {name}" if n else f"class {name}, or a part of it"
            first = group[0].error
            lines.append(f"left out: {what}: {first.what} ({f'first {first.where}' if n > 1 else first.where})")
        return lines


def guarded(class_name: str, entries: Iterable[Entry]) -> list[Entry]:
    """The entries of a class or of a part of it; a fault where they cannot be told."""
    try:
        return list(entries)
    except UserError as error:
        return [Fault(class_name, error)]


def survey(entries: Iterable[Entry]) -> Survey:
    """Look for the files of all samples and for entries that contradict each other. No file is opened, but for two

    images of one name: where their pixels are the same, one is taken.
    """
    listed = list(entries)
    faults = [entry for entry in listed if isinstance(entry, Fault)]
    notes = [entry for entry in listed if isinstance(entry, Note)]
    disk = Disk()
    samples = []
    for sample in (entry for entry in listed if isinstance(entry, Sample)):
        samples.append(_as_stored(sample, disk))
        faults.extend(_missing(samples[-1], disk))
    faults += _repeated(samples)
    faults += _unmasked(samples)
    twins, dropped = _twins(samples)
    samples = [sample for sample in samples if id(sample) not in {id(twin) for twin in dropped}]
    if dropped:
        notes.append(Note(f"{len(dropped)} images are there twice, taken once: first {dropped[0].key}"))
    return Survey(samples, faults + twins, notes + list(_noted(samples)))


def _as_stored(sample: Sample, disk: Disk) -> Sample:
    """The sample with paths as the disk spells them, and names that enter prompts composed."""
    changes: dict[str, object] = {}
    for name in ("path", "mask_path", "overlay_path"):
        path = getattr(sample, name)
        if path is not None and (stored := disk.find(path)) is not None and stored is not path:
            changes[name] = stored
    if sample.further_masks:
        changes["further_masks"] = tuple(disk.find(path) or path for path in sample.further_masks)
    for name in ("class_name", "defect"):
        if not getattr(sample, name).isascii():
            changes[name] = composed(getattr(sample, name))
    return replace(sample, **changes) if changes else sample  # type: ignore[arg-type]


def _missing(sample: Sample, disk: Disk) -> Iterator[Fault]:
    """A fault for a sample of which a file is not there, by the first such file."""
    masks = () if sample.mask_path is None else (sample.mask_path, *sample.further_masks)
    overlays = () if sample.overlay_path is None else (sample.overlay_path,)
    for kind, paths in (("image", (sample.path,)), ("mask", masks), ("overlay", overlays)):
        for path in paths:
            if disk.find(path) is None:
                yield Fault(sample.class_name, _lack(kind, path, sample, disk), sample, f"{kind} file")
                return


def _lack(kind: str, path: Path, sample: Sample, disk: Disk) -> UserError:
    name = "label" if kind == "mask" and sample.label_ids is not None else kind
    where = str(path) if kind == "image" else f"{path}, of image {sample.path}"
    what, hint = f"{name} file is missing", "restore it or index the folder again"
    if link := disk.link(path):
        what, where, hint = f"{name} file is a link that leads nowhere", f"{where}, to {link}", "mount what it leads to"
    elif path.exists():
        what, hint = f"{name} file is a pipe, socket or device", "put the picture there"
    elif other := disk.unescaped(path):
        hint = f"write {other.name!r} in the list: its name is written with escapes there"
    return UserError(what, where=where, hint=hint)


def _together(faults: Sequence[Fault], listed: Sequence[Sample]) -> UserError:
    """The error of the first fault; of missing files the number, the first one, and what resembles it."""
    first = faults[0]
    group = [fault for fault in faults if fault.kind == first.kind and fault.sample is not None]
    sample, error = first.sample, first.error
    if sample is None or not first.kind.endswith(" file") or "is missing" not in error.what:
        return error
    if first.kind == "image file":
        n, near = len(group), nearest(sample.path.name, Disk().names(sample.path.parent))
        what = f"{n} of {len(listed)} files are missing" if n > 1 else "a file is missing"
        what += f", first {sample.key!r}" + (f"; nearest is {near!r}" if near else "")
        hint = error.hint if "escapes" in error.hint else "restore the files, or mend the list that names them"
        return UserError(what, where=f"looked for {sample.path}", hint=f"{hint}; {OTHERWISE}")
    if first.kind == "overlay file":
        return error
    return _without_mask(sample, [fault.sample for fault in group if fault.sample is not None], listed)


def _without_mask(first: Sample, lacking: Sequence[Sample], listed: Sequence[Sample]) -> UserError:
    """What is said of images of which the masks that should lie beside that of the `first` do not."""
    folder = _mask_folder(first)
    beside = [sample for sample in listed if _mask_folder(sample) == folder]
    n, n_own = (
        len({file_of(sample.path) for sample in group if _mask_folder(sample) == folder}) for group in (lacking, beside)
    )
    taken = {
        file_of(path).name
        for sample in beside
        for path in (sample.mask_path, *sample.further_masks)
        if path is not None
    }
    images = {file_of(sample.path).name for sample in listed if file_of(sample.path).parent == folder}
    masks = (
        {name for name in Disk().names(folder) if is_image(name) and name[0] != "."} - images
        if folder is not None
        else set()
    )
    image = file_of(first.path).name
    near = nearest(image, masks - taken)
    if first.label_ids is None:
        what, hint = f"{n} of {n_own} anomalous images have no mask", "name each mask as its image"
    else:
        what, hint = f"{n} of {n_own} images have no label file", "unpack the labels of the data set beside its images"
    what += f" among {len(masks)} files, first {image!r}" + (f"; nearest is {near!r}" if near else "")
    what += "; the folder is not there" if folder is not None and not folder.is_dir() else ""
    return UserError(what, where=f"looked for {first.mask_path}", hint=f"{hint}; {OTHERWISE}")


def _mask_folder(sample: Sample) -> Path | None:
    return None if sample.mask_path is None else file_of(sample.mask_path).parent


def _repeated(samples: Sequence[Sample]) -> Iterator[Fault]:
    """Images that one split of a class lists twice, and those that a class calls both normal and anomalous."""
    by_image: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        by_image.setdefault((sample.class_name, str(sample.path)), []).append(sample)
    for (name, path), group in by_image.items():
        if len({sample.label for sample in group}) > 1:
            error = UserError("an image is listed both as normal and as anomalous", where=path, hint="keep one entry")
            yield from (Fault(name, error, sample, "label") for sample in group)
            continue
        for place, sample in enumerate(group):
            if any(sample.split == other.split for other in group[:place]):
                error = UserError(
                    "an image is listed twice", where=f"{path}, {sample.split} split", hint="keep one entry"
                )
                yield Fault(name, error, sample, "entry")


def _unmasked(samples: Sequence[Sample]) -> Iterator[Fault]:
    """Anomalous images without a mask in classes where others have one: their pixels would count as normal."""
    anomalous = [sample for sample in samples if sample.label == 1 and sample.label_ids is None]
    masked = {sample.class_name for sample in anomalous if sample.mask_path is not None}
    for sample in anomalous:
        if sample.mask_path is None and sample.class_name in masked:
            hint = f"add the mask to the index, or take all masks of the class out; {OTHERWISE}"
            error = UserError("an anomalous image has no mask", where=str(sample.path), hint=hint)
            yield Fault(sample.class_name, error, sample, "no mask")


def _twins(samples: Sequence[Sample]) -> tuple[list[Fault], list[Sample]]:
    """Images of a folder whose names differ in case or extension alone: faults, and those that are only copies."""
    groups: dict[str, dict[str, list[Sample]]] = {}
    for sample in samples:
        stem, ending = os.path.splitext(str(sample.path))
        if ending:
            groups.setdefault(folded(stem), {}).setdefault(str(sample.path), []).append(sample)
    faults: list[Fault] = []
    dropped: list[Sample] = []
    for group in groups.values():
        if len(group) < 2:
            continue
        first, *others = map(Path, group)
        if len(set(map(folded, group))) == len(group) and all(_same_pixels(first, other) for other in others):
            dropped += [sample for other in others for sample in group[str(other)]]
            continue
        names = " and ".join(repr(os.path.basename(path)) for path in group)
        hint = "keep one of them, or rename one"
        error = UserError(
            f"two images have one name but for case and extension: {names}", where=str(first.parent), hint=hint
        )
        faults += [Fault(sample.class_name, error, sample, "name") for copies in group.values() for sample in copies]
    return faults, dropped


def _same_pixels(path: Path, other: Path) -> bool:
    try:
        first, second = (np.asarray(open_image(path).convert("RGB")) for path in (path, other))
    except UserError:
        return False
    return bool(np.array_equal(first, second))


def _noted(samples: Sequence[Sample]) -> Iterator[Note]:
    splits: dict[tuple[str, str], set[str]] = {}
    owners: dict[str, set[str]] = {}
    for sample in samples:
        splits.setdefault((sample.class_name, str(sample.path)), set()).add(sample.split)
        if sample.mask_path is not None and sample.label == 1:
            owners.setdefault(str(sample.mask_path), set()).add(str(sample.path))
    both = [path for (_, path), names in splits.items() if {"train", "test"} <= names]
    if both:
        yield Note(f"{len(both)} images are in the train and in the test split, first {both[0]}", in_rows=True)
    shared = [mask for mask, images in owners.items() if len(images) > 1]
    if shared:
        yield Note(f"{len(shared)} masks serve several images, first {shared[0]}", in_rows=True)
