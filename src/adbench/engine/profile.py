"""A trace of a run's first batches, for chrome://tracing or Perfetto."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from adbench import launch
from adbench.atomic import replacing
from adbench.engine.progress import Advance, Reporter
from adbench.errors import UserError

if TYPE_CHECKING:
    import torch

N_UNITS = 20
"""Units of progress (steps of a training, images of an evaluation) that are recorded: viewers choke on much more."""


class Profile:
    """A reporter that hands everything on to another and, where it is `on`, records while the first batches run.

    Of several processes the first is recorded. Use it in a `with` statement, which ends the recording.
    """

    def __init__(self, reporter: Reporter, *, on: bool = True) -> None:
        self._reporter, self._on = reporter, on and not launch.number()
        self._recorder: torch.profiler.profile | None = None
        self._n_left = N_UNITS

    def __enter__(self) -> Profile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._count(self._n_left)

    def say(self, text: str) -> None:
        """Hand on the line."""
        self._reporter.say(text)

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0, closing: bool = True) -> Iterator[Advance]:
        """Show the progress, and record from the first on."""
        if self._on and self._recorder is None:
            self._recorder = _recorder()
            self._recorder.start()
        with self._reporter.track(label, total, done=done, closing=closing) as advance:

            def counted(count: int, values: Mapping[str, float]) -> None:
                advance(count, values)
                self._count(count)

            yield counted

    def write(self, path: Path) -> list[Path]:
        """Write what was recorded to `path`, whole or not at all; the files there are.

        Raises UserError where nothing has run, because all was done before.
        """
        if not self._on:
            return []
        if self._recorder is None:
            hint = "give another out, or resume=false"
            raise UserError("nothing was left to run, so there is no trace", where="--profile", hint=hint)
        self._count(self._n_left)
        with replacing(path) as temporary:
            self._recorder.export_chrome_trace(str(temporary))
        return [path]

    def _count(self, n: int) -> None:
        if self._recorder is not None and self._n_left > 0:
            self._n_left -= n
            if self._n_left <= 0:
                self._recorder.stop()


def _recorder() -> torch.profiler.profile:
    import torch

    kinds = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=kinds, record_shapes=True)
