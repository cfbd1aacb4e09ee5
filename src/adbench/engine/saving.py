"""Checkpoints of a training at work: one replaces the last only when training is known to be finite behind it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from adbench.engine import ranks
from adbench.engine.checkpoint import Checkpoint
from adbench.engine.progress import Reporter
from adbench.engine.settings import TrainSettings

State = Literal["whole", "torn", "held"]


class Checkpoints:
    """Keeps a training in `path`, on rank 0 alone.

    `capture` copies its state, and refuses one that is not finite with UserError.

    state  what an interruption finds: "whole": the end of a step; "torn": the middle of one, worth nothing; "held": the
           state that was taken last, whatever has been done since
    """

    def __init__(self, path: Path, settings: TrainSettings, capture: Callable[[], Checkpoint]) -> None:
        self.state: State = "whole"
        self._path, self._settings, self._capture = path, settings, capture
        self._taken: Checkpoint | None = None
        self._last = time.perf_counter()

    def due(self, step: int) -> bool:
        """Whether a checkpoint after `step` is due inside of its epoch."""
        if not ranks.is_first():
            return False
        every, minutes = self._settings.checkpoint_steps, self._settings.checkpoint_minutes
        by_steps = every is not None and step % every == 0
        return by_steps or (minutes is not None and time.perf_counter() - self._last >= 60 * minutes)

    def take(self) -> None:
        """Copy the state as it is now; `confirm` writes it."""
        if ranks.is_first():
            self._taken, self._last = self._capture(), time.perf_counter()

    def confirm(self) -> None:
        """Write what was taken last: the loss behind it is finite."""
        if self._taken is not None:
            self._taken.write(self._path)
            self._taken = None

    def rescue(self, is_finite: Callable[[], bool], reporter: Reporter) -> None:
        """Keep what an interruption has found, unless it is the middle of a step or has diverged."""
        if not ranks.is_first() or self.state == "torn" or not is_finite():
            return
        if self.state == "whole":
            self.take()
        if self._taken is not None:
            step = self._taken.record["position"]["step"]
            self.confirm()
            with contextlib.suppress(OSError):  # the terminal may be what has gone
                reporter.say(f"step {step} is kept in {self._path}")
