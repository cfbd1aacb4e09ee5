"""Values as they are typed on the command line."""

from __future__ import annotations

import pytest

from adbench.structured import word


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), ("bf16", "bf16"), (0.5, "0.5"), (["nut", None, (1, 2)], "[nut,null,[1,2]]")],
)
def test_values_read_as_they_are_typed(value, text):
    assert word(value) == text
