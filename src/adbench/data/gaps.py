"""Missing files while a folder is indexed: an error, or, for a check that wants all of them, names to look for.

Index functions stop at the first missing file. Within `tolerated()` they go on: images and masks that should be there
are named in the samples as if they were, so that whoever opens them can list every one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_TOLERATED: ContextVar[bool] = ContextVar("gaps are tolerated", default=False)


@contextlib.contextmanager
def tolerated() -> Iterator[None]:
    """Let index functions that run inside name missing files instead of raising UserError."""
    token = _TOLERATED.set(True)
    try:
        yield
    finally:
        _TOLERATED.reset(token)


def are_tolerated() -> bool:
    """Whether missing files are to be named rather than refused."""
    return _TOLERATED.get()
