"""What a run tells its user while it works: a live bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

Advance = Callable[[int, Mapping[str, float]], None]
"""Called with the number of units done since the last call and the values to show beside the bar."""


class Reporter(Protocol):
    """How a run speaks."""

    def say(self, text: str) -> None:
        """Print one line."""

    def track(
        self, label: str, total: int, *, done: int = 0, unit: str = "step"
    ) -> contextlib.AbstractContextManager[Advance]:
        """Show the progress of `total` units of which `done` lie behind already."""


def make_reporter(*, quiet: bool = False, stream: TextIO | None = None) -> Reporter:
    """The reporter that suits `stream` (default: standard error)."""
    raise NotImplementedError
