"""Fixtures shared by all tests."""

from __future__ import annotations

import pytest

from tiny import make_tiny_clip


@pytest.fixture
def tiny_clip():
    """A classic CLIP of a few thousand weights."""
    return make_tiny_clip()
