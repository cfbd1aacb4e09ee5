"""CIFAR-10 as semantic anomaly detection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.containers import read_container
from adbench.data.sample import Sample
from adbench.data.semantic import ImageArray, tasks
from adbench.errors import UserError

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin", "")
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))


@register(
    "cifar10",
    title="CIFAR-10, one class against the others",
    domain="semantic",
    task="classification",
    classes=_CLASSES,
    expected={name: Counts(train=5000, normal=1000, anomalous=9000) for name in _CLASSES},
    licence="none stated; for research",
    source="https://www.cs.toronto.edu/~kriz/cifar.html",
    citation="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images. Technical report, 2009",
    how_to_get="Download the Python or the binary version from the source page and unpack it to data/cifar10",
    folders=("cifar-10",),
    marks=tuple(f"{folder}/test_batch*" if folder else "test_batch*" for folder in _FOLDERS),
    layout="""\
[cifar-10-batches-py/]{data_batch_1,...,data_batch_5,test_batch}
or [cifar-10-batches-bin/]{data_batch_1,...,data_batch_5,test_batch}.bin""",
    quirks=(
        "A class here is a task: its training images are the normal ones, its 1000 test images are normal and the "
        "9000 of all other classes anomalous (one-vs-all).",
        "Several classes normal together: data.normal_classes='[bird,cat,deer,dog,frog,horse]' "
        "data.prompt_name=animal. Which grouping the paper of InCTRL has is not known.",
        "Pictures are read from the batches as published; nothing is unpacked. Pickled batches cannot run code.",
    ),
)
def index(
    root: Path,
    classes: Sequence[str] | None,
    *,
    normal_classes: Sequence[str] = (),
    prompt_name: str | None = None,
) -> Iterator[Sample]:
    """Index the batches of whichever version is there."""
    for folder in _FOLDERS:
        for ending in ("", ".bin"):
            if (root / folder / f"test_batch{ending}").is_file():
                parts = [_part(root, folder, f"{name}{ending}") for name in (*_TRAIN, "test_batch")]
                return tasks(
                    parts,
                    _CLASSES,
                    classes,
                    dataset="cifar10",
                    normal_classes=normal_classes,
                    prompt_name=prompt_name,
                )
    raise UserError("there is no test_batch", where=str(root), hint="unpack the archive again")


def _part(root: Path, folder: str, name: str) -> ImageArray:
    file = root / folder / name
    _, labels = read_container(file)
    assert labels is not None  # as batches have them
    if labels.min() < 0 or labels.max() >= len(_CLASSES):
        raise UserError("a label is outside of 0 to 9", where=str(file), hint="get the file again")
    split = "test" if name.startswith("test") else "train"
    return ImageArray(file, f"{folder}/{name}" if folder else name, split, labels)
