"""Semantic anomaly detection from labelled pictures: some classes are normal, the others are the anomalies.

One-vs-all makes one task of each class: the class named is normal, all others are anomalous. The same test image is
then in every task. With `normal_classes` there is a single task, in which several classes are normal together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adbench.data.containers import member
from adbench.data.sample import Sample
from adbench.errors import UserError, unknown


@dataclass(frozen=True, slots=True)
class ImageArray:
    """A file of images with the number of each image's class. `key`: its path relative to the data set's root."""

    file: Path
    key: str
    split: str
    labels: NDArray[np.int64]


def tasks(
    parts: Sequence[ImageArray],
    names: Sequence[str],
    classes: Sequence[str] | None,
    *,
    dataset: str,
    normal_classes: Sequence[str] | str = (),
    prompt_name: str | None = None,
) -> Iterator[Sample]:
    """Yield the samples of each task: normal training images, and all test images.

    names           of the classes, by number
    classes         the tasks wanted of one-vs-all, None for all
    normal_classes  of the single task instead; prompt_name is what its normal images are called
    """
    normal = [normal_classes] if isinstance(normal_classes, str) else [str(name) for name in normal_classes]
    for name in normal:
        if name not in names:
            raise unknown(f"class of data set {dataset}", name, names, where="data.normal_classes")
    if normal and (not prompt_name or len(set(normal)) == len(names)):
        raise UserError(
            "no name is given for the normal classes together" if not prompt_name else "all classes are normal",
            where="data.prompt_name" if not prompt_name else "data.normal_classes",
            hint="write data.normal_classes='[a,b]' data.prompt_name=NAME, with some classes left as anomalies",
        )
    if prompt_name and not normal:
        raise UserError(
            "a common name is given, but no normal classes",
            where="data.prompt_name",
            hint="add data.normal_classes='[a,b]'",
        )
    wanted = {str(prompt_name): normal} if normal else {name: [name] for name in classes or names}
    for task, members in wanted.items():
        numbers = [names.index(name) for name in members]
        for part in parts:
            yield from _samples(part, task, numbers, names, dataset)


def _samples(
    part: ImageArray, task: str, normal: Sequence[int], names: Sequence[str], dataset: str
) -> Iterator[Sample]:
    is_normal = np.isin(part.labels, normal)
    for number in np.flatnonzero(is_normal | (part.split == "test")).tolist():
        label = int(not is_normal[number])
        path = member(part.file, number)
        yield Sample(
            path=path,
            key=f"{part.key}/{path.name}",
            class_name=task,
            label=label,
            mask_path=None,
            split=part.split,
            defect=names[part.labels[number]] if label else "good",
            dataset=dataset,
        )
