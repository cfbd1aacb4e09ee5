"""Sets that are a folder of normal and a folder of anomalous images, without masks and without a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.sample import Sample


def index_sides(
    root: Path, *, normal: Sequence[str], anomalous: Sequence[str], dataset: str, class_name: str, defect: str
) -> Iterator[Sample]:
    """Yield images, given by their paths relative to `root`, as test images without masks: the normal ones first."""
    for kind, keys in ((None, normal), (defect, anomalous)):
        for key in keys:
            yield Sample.below(root, key, dataset=dataset, class_name=class_name, defect=kind)
