"""Splits that the papers' scripts draw where a set has none of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from adbench.data.sample import Sample
from adbench.errors import UserError

FEW_SHOT = (
    "There is no official split: all images are test images, as AdaCLIP has it. Few-shot methods need normal training "
    "images: data.few_shot_split=true keeps a quarter of the normal ones for the test and gives the others to the "
    "train split, as InCTRL's conversion does (scikit-learn's train_test_split, test_size=0.25, random_state=42, on "
    "{order})."
)


def quarter_for_test(n: int) -> frozenset[int]:
    """Row numbers that scikit-learn's train_test_split(range(n), test_size=0.25, random_state=42) puts into the test.

    The scripts of InCTRL and AdaCLIP draw so from the normal images, in the order in which they found the files. Ours
    is the order of the set's own table, else sorted by path: the result depends on it.
    """
    order = np.random.RandomState(42).permutation(n)
    return frozenset(order[: math.ceil(0.25 * n)].tolist())


def split_for_few_shots(samples: Iterable[Sample]) -> list[Sample]:
    """Leave a quarter of the normal images, which are all for the test so far, there and give the others to training.

    The draw (`quarter_for_test`) goes by the order of `samples`. Raises UserError where there are training images.
    """
    samples = list(samples)
    normal = [number for number, sample in enumerate(samples) if sample.label == 0]
    if any(sample.split != "test" for sample in samples):
        where, hint = "data.few_shot_split", "leave it out: they are used as they are"
        raise UserError("the folder has training images of its own", where=where, hint=hint)
    kept = quarter_for_test(len(normal))
    for place, number in enumerate(normal):
        if place not in kept:
            samples[number] = replace(samples[number], split="train")
    return samples
