"""MNIST as semantic anomaly detection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from adbench.data.catalogue import Counts, register
from adbench.data.containers import read_container
from adbench.data.sample import Sample
from adbench.data.semantic import ImageArray, tasks
from adbench.errors import UserError

_CLASSES = tuple("0123456789")
_FOLDERS = ("", "MNIST/raw", "raw")
_TRAIN_COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
_TEST_COUNTS = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


@register(
    "mnist",
    title="MNIST, one digit against the others",
    domain="semantic",
    task="classification",
    classes=_CLASSES,
    expected={
        name: Counts(train=train, normal=test, anomalous=10000 - test)
        for name, train, test in zip(_CLASSES, _TRAIN_COUNTS, _TEST_COUNTS, strict=True)
    },
    licence="CC BY-SA 3.0, as commonly stated",
    source="http://yann.lecun.com/exdb/mnist",
    citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition. "
    "Proceedings of the IEEE 86(11), 1998",
    how_to_get="Put the four idx files, packed or not, into data/mnist (torchvision's download puts them in MNIST/raw)",
    folders=("MNIST",),
    marks=tuple(f"{folder}/t10k-images*" if folder else "t10k-images*" for folder in _FOLDERS),
    layout="""\
[MNIST/raw/]{train,t10k}-images-idx3-ubyte[.gz]
[MNIST/raw/]{train,t10k}-labels-idx1-ubyte[.gz]""",
    quirks=(
        "A class here is a task: its training images are the normal ones, its test images are normal and those of all "
        "other digits anomalous (one-vs-all).",
        "Several digits normal together: data.normal_classes='[0,6,8]' data.prompt_name=loop.",
        "A digit's name in prompts is the numeral. Which word the paper of InCTRL has there is not known.",
    ),
)
def index(
    root: Path,
    classes: Sequence[str] | None,
    *,
    normal_classes: Sequence[str] = (),
    prompt_name: str | None = None,
) -> Iterator[Sample]:
    """Index the idx files."""
    parts = [_part(root, name, split) for name, split in (("train", "train"), ("t10k", "test"))]
    return tasks(parts, _CLASSES, classes, dataset="mnist", normal_classes=normal_classes, prompt_name=prompt_name)


def _part(root: Path, name: str, split: str) -> ImageArray:
    images, key = _find(root, name, "images", 3)
    labels = read_container(_find(root, name, "labels", 1)[0])[0].astype(np.int64)
    n_images = len(read_container(images)[0])
    if labels.ndim != 1 or len(labels) != n_images or labels.max(initial=0) >= len(_CLASSES):
        raise UserError(
            f"{len(labels)} labels do not fit {n_images} images", where=str(images), hint="get the files again"
        )
    return ImageArray(images, key, split, labels)


def _find(root: Path, name: str, kind: str, n_axes: int) -> tuple[Path, str]:
    for folder in _FOLDERS:
        for dot in "-.":  # some mirrors write a dot before idx
            for ending in ("", ".gz"):
                file = f"{name}-{kind}{dot}idx{n_axes}-ubyte{ending}"
                if (root / folder / file).is_file():
                    return root / folder / file, f"{folder}/{file}" if folder else file
    raise UserError(
        f"the file of the {kind} is missing", where=f"looked for {root / f'{name}-{kind}-idx{n_axes}-ubyte'}[.gz]"
    )
