"""Splits that the papers' scripts draw where a set has none of its own."""

from __future__ import annotations

import math

import numpy as np


def quarter_for_test(n: int) -> frozenset[int]:
    """Row numbers that scikit-learn's train_test_split(range(n), test_size=0.25, random_state=42) puts into the test.

    The scripts of InCTRL and AdaCLIP draw so from the normal images, in the order in which they found the files. Ours
    is the order of the set's own table, else sorted by path: the result depends on it.
    """
    order = np.random.RandomState(42).permutation(n)
    return frozenset(order[: math.ceil(0.25 * n)].tolist())
