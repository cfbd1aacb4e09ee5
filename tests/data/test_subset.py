"""A few images of each class to train on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from adbench.data.sample import Sample
from adbench.data.subset import few_of_each_class
from adbench.errors import UserError


def sample(name: str, number: int) -> Sample:
    key = f"{name}/{number}.png"
    return Sample(Path(key), key, name, number % 2, None, "test", "good", "made")


SAMPLES = [sample(name, number) for name in ("nut", "tile") for number in range(12)]


def test_k_of_each_class_in_order_by_seed() -> None:
    chosen = few_of_each_class(SAMPLES, 5, seed=1)
    assert Counter(one.class_name for one in chosen) == {"nut": 5, "tile": 5}
    assert chosen == [one for one in SAMPLES if one in chosen]
    assert chosen == few_of_each_class(SAMPLES, 5, seed=1)
    assert chosen != few_of_each_class(SAMPLES, 5, seed=2)


def test_fewer_are_a_part_of_more_whatever_else_there_is() -> None:
    assert set(few_of_each_class(SAMPLES, 3, seed=1)) < set(few_of_each_class(SAMPLES, 5, seed=1))
    alone = few_of_each_class(SAMPLES[::-1][:12], 5, seed=1)
    assert set(alone) == {one for one in few_of_each_class(SAMPLES, 5, seed=1) if one.class_name == "tile"}


def test_a_class_with_fewer_is_named() -> None:
    with pytest.raises(UserError, match=r"class nut has 12 images \(trainer\.aux_per_class=13\)"):
        few_of_each_class(SAMPLES, 13, seed=1)
