from __future__ import annotations

import pytest
from sklearn.model_selection import train_test_split

from adbench.data.splits import quarter_for_test


@pytest.mark.parametrize("n", [2, 3, 7, 148, 1508])
def test_the_quarter_is_scikit_learns(n: int) -> None:
    assert quarter_for_test(n) == frozenset(train_test_split(range(n), test_size=0.25, random_state=42)[1])


def test_a_single_image_is_for_the_test() -> None:
    assert quarter_for_test(1) == {0}
    assert quarter_for_test(0) == frozenset()
