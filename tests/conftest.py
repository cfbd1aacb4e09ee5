"""Fixtures shared by all tests, and what the generated ones are generated from."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tiny import make_tiny_clip

# The same inputs on every machine at every run; a busy machine is no fault.
settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("repeatable")


@pytest.fixture
def tiny_clip():
    """A classic CLIP of a few thousand weights."""
    return make_tiny_clip()
