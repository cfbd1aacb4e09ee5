"""Checks a data set on disk against what was published and against itself, quickly: 10,000 files in seconds.

Found are: classes and numbers of images that differ from the published ones, missing images and masks, files that
cannot be read or were cut short, masks of another size than their image, and identical images. Files are read only as
far as needed: header and end of each, and whole only those that have the same size as another one. With `decode` every
pixel is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.data.catalogue import DatasetSpec, Progress
from adbench.data.check_contents import doubts, notes
from adbench.data.containers import content_sha256, content_size, file_of
from adbench.data.fingerprint import fingerprint
from adbench.data.looking import in_threads, look_at
from adbench.data.masks import leniencies
from adbench.data.sample import Sample
from adbench.data.survey import Fault
from adbench.data.unexplained import unexplained
from adbench.errors import UserError


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check has found: samples as far as they could be indexed, one error per problem, and what to know."""

    samples: list[Sample]
    problems: list[UserError]
    notes: list[str]

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the samples (reads every byte of their files); None where files are missing."""
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
    samples, faults, said = _surveyed(spec, root, classes, options)
    problems = [fault.error for fault in faults if not fault.kind.endswith(" file")]  # others are found by opening
    problems += _deviating(spec, samples, options)
    if not classes and not spec.changed_options(options or {}):
        problems += _absent(spec, {sample.class_name for sample in samples} | {fault.class_name for fault in faults})
    looked = look_at(samples, decode, progress)
    problems += [fault for sample_look in looked for fault in sample_look.faults]
    problems += doubts(looked)
    problems += _repeated(samples)
    known = said + notes(looked, spec.sizes)
    if not classes and spec.bundled is None:
        known += [line for line in unexplained(root, samples) if line not in known]
    return Checked(samples, list({str(problem): problem for problem in problems}.values()), known)


def _surveyed(
    spec: DatasetSpec, root: Path, classes: Sequence[str] | None, options: Mapping[str, Any] | None
) -> tuple[list[Sample], list[Fault], list[str]]:
    """All samples, also those of missing files; what is wrong with the entries; what is to be known."""
    try:
        surveyed = spec.survey(root, classes, options)
    except UserError as error:
        if error.unknown_name or not (spec.marks and spec.is_raw(root)):
            raise
        return [], [Fault(spec.name, error)], []
    pairings = [f"{n} masks are paired {how}" for how, n in leniencies(surveyed.listed).items()]
    return surveyed.listed, surveyed.faults, [note.text for note in surveyed.notes] + pairings


def _deviating(spec: DatasetSpec, samples: Sequence[Sample], options: Mapping[str, Any] | None) -> Iterator[UserError]:
    for line in spec.deviations(samples, options):
        yield UserError(line, hint="unpack the archive again; a part of the classes: data.classes='[a,b]'")


def _absent(spec: DatasetSpec, present: Collection[str]) -> Iterator[UserError]:
    if not set(present) <= {*spec.classes, spec.name}:
        return  # a meta.json that calls the classes otherwise
    for name in spec.classes:
        if name not in present and spec.name not in present:
            yield UserError(
                f"class {spec.name}/{name} is missing", hint="unpack the whole archive, or name data.classes='[a,b]'"
            )


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
    for path, digest in zip(alike, in_threads(_digest, alike), strict=True):
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
        hint="keep one of them, or get the archive again",
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
