"""Sets that are a folder of normal and a folder of anomalous images, without masks and without a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.sample import Sample
from adbench.data.splits import quarter_for_test

FEW_SHOT = (
    "There is no official split: all images are test images, as AdaCLIP has it. Few-shot methods need normal training "
    "images: data.few_shot_split=true keeps a quarter of the normal ones for the test and gives the others to the "
    "train split, as InCTRL's conversion does (scikit-learn's train_test_split, test_size=0.25, random_state=42, on "
    "{order})."
)


def index_sides(
    root: Path,
    normal: Sequence[str],
    anomalous: Sequence[str],
    *,
    dataset: str,
    class_name: str,
    defect: str,
    few_shot_split: bool,
) -> Iterator[Sample]:
    """Yield the samples of images given by their paths relative to `root`, in the order that a drawn split goes by.

    All are test images; with `few_shot_split` all normal images but a quarter are for training.
    """
    test = quarter_for_test(len(normal)) if few_shot_split else range(len(normal))
    for label, keys in ((0, normal), (1, anomalous)):
        for number, key in enumerate(keys):
            yield Sample(
                path=root / key,
                key=key,
                class_name=class_name,
                label=label,
                mask_path=None,
                split="test" if label or number in test else "train",
                defect=defect if label else "good",
                dataset=dataset,
            )
