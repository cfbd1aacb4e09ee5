"""The division of a class into subsets whose images score each other."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence


def divide(strata: Sequence[Hashable], n_subsets: int, seed: int) -> list[list[int]]:
    """Numbers of images by subset: each stratum shuffled, then dealt in turn to the subsets.

    A single subset stays in order. Strata come in order of first appearance and share one generator, as in the authors'
    code; one that is smaller than `n_subsets` is absent from some subsets.
    """
    if n_subsets == 1:
        return [list(range(len(strata)))]
    groups: dict[Hashable, list[int]] = {}
    for number, stratum in enumerate(strata):
        groups.setdefault(stratum, []).append(number)
    generator = random.Random(seed)
    for group in groups.values():
        generator.shuffle(group)
    return [[number for group in groups.values() for number in group[turn::n_subsets]] for turn in range(n_subsets)]
