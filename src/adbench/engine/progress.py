"""What a run tells its user while it works: a live bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

from adbench import launch

Advance = Callable[[int, Mapping[str, float]], None]
"""Called with the number of units done since the last call and the values to show beside the bar."""

LINE_SECONDS = 10.0  # between two plain progress lines


class Reporter(Protocol):
    """How a run speaks."""

    def say(self, text: str) -> None:
        """Print one line."""

    def track(self, label: str, total: int, *, done: int = 0, closing: bool = True) -> AbstractContextManager[Advance]:
        """Show the progress of `total` units, of which `done` lie behind already.

        `closing`: a log gets a line at the end; not where the caller says what the units have come to.
        """


def make_reporter(stream: TextIO | None = None) -> Reporter:
    """The reporter that suits `stream` (default: standard error); of several processes only the first speaks."""
    stream = sys.stderr if stream is None else stream
    if launch.number():
        return Quiet()
    return Bars(stream) if stream.isatty() else Lines(stream)


class Quiet:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Drop the line."""

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0, closing: bool = True) -> Iterator[Advance]:
        """Show nothing."""
        yield lambda _count, _values: None


class Lines:
    """Plain lines, for logs and pipes: one every few seconds and, where it is closing, one at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Print the line."""
        print(text, file=self._stream, flush=True)

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0, closing: bool = True) -> Iterator[Advance]:
        """Print how far it is now and then, and at the end at what rate in all.

        The first call, which also prepares things, tells nothing of the time that is left.
        """
        begin = start = printed = time.monotonic()
        before = first = done
        is_warm = False

        def advance(count: int, values: Mapping[str, float]) -> None:
            nonlocal done, printed, start, first, is_warm
            done += count
            now = time.monotonic()
            if closing if done >= total else now - printed >= LINE_SECONDS:
                printed = now
                n, seconds = (done - first, now - start) if done < total else (done - before, now - begin)
                rate = n / max(seconds, 1e-9)
                shown = "".join(f"  {name} {value:.4g}" for name, value in values.items())
                left = f"  {duration((total - done) / rate)} left" if done < total and is_warm and rate > 0 else ""
                self.say(f"{label}  {done}/{total}  {rate:.1f}/s{left}{shown}")
            if not is_warm:
                start, first, is_warm = now, done, True

        yield advance


def duration(seconds: float) -> str:
    """In hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


class Bars:
    """A live bar per tracked loop, for terminals."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)

    def say(self, text: str) -> None:
        """Print the line above the bar."""
        self._console.print(text, highlight=False, markup=False)

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0, closing: bool = True) -> Iterator[Advance]:
        """Show a bar with the time left; it disappears at the end."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        ]
        with Progress(
            *columns, TextColumn("{task.fields[values]}", markup=False), console=self._console, transient=True
        ) as progress:
            task = progress.add_task(label, total=total, completed=done, values="")

            def advance(count: int, values: Mapping[str, float]) -> None:
                shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
                progress.update(task, advance=count, values=shown)

            yield advance
