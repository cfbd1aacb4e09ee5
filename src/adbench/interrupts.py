"""Signals that ask a command to stop: Ctrl-C, and what a cluster, systemd or a closed terminal sends.

`watched` (the command line) turns them into `Interrupted`; library calls install no handlers and may run in any thread.
Code that must not be torn in the middle of a step runs it in `deferred`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
PATIENCE = 0.3
"""Seconds within which signals are one: `timeout` and terminals send the same one to a process and to its group."""


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop: its number, and how to go on, in words."""

    def __init__(self, number: int = signal.SIGINT, advice: str = "") -> None:
        super().__init__(advice)
        self.number = number

    @property
    def status(self) -> int:
        """The exit status: 128 and the signal's number."""
        return 128 + self.number


def with_advice(interrupt: KeyboardInterrupt, advice: str) -> Interrupted:
    """The same interruption, with how to go on."""
    return Interrupted(getattr(interrupt, "number", signal.SIGINT), advice)


class _Watch:
    """What has been asked for so far in this process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.depth = 0  # of `deferred`
        self.waiting: int | None = None  # a signal that a step's end will raise
        self.first: float | None = None  # when the first signal came
        self.terminals = [file for file in (1, 2) if os.isatty(file)]

    def handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self.pid:  # a forked worker: its parent decides
            return
        self._leave_lost_terminals()
        now = time.monotonic()
        if self.first is None:
            self.first = now
            if self.depth:
                self.waiting = number
                return
            raise Interrupted(number)
        if now - self.first < PATIENCE:
            return
        os._exit(128 + number)  # a second one ends at once, whatever is being done

    def _leave_lost_terminals(self) -> None:
        """Write to nowhere where a terminal has been closed: every further line would be an error."""
        for file in self.terminals:
            if not os.isatty(file):
                os.dup2(os.open(os.devnull, os.O_WRONLY), file)


_watch: _Watch | None = None


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Let signals raise `Interrupted` in here, or at the end of what is `deferred`; a second one ends the process.

    Ignored ones stay ignored (nohup). Does nothing outside of the main thread and inside of another `watched`.
    """
    global _watch
    if threading.current_thread() is not threading.main_thread() or _watch is not None:
        yield
        return
    _watch = _Watch()
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, _watch.handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _watch = None


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let a signal that comes in here wait for the end; where none is `watched`, nothing changes."""
    watch = _watch
    if watch is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    watch.depth += 1
    try:
        yield
    finally:
        watch.depth -= 1
    if watch.waiting is not None and not watch.depth:
        number, watch.waiting = watch.waiting, None
        raise Interrupted(number)


def waiting() -> int | None:
    """The number of a signal that has come and waits for the end of what is deferred."""
    return None if _watch is None else _watch.waiting


def ignore_in_worker() -> None:
    """Leave signals to the parent process, which ends its workers itself."""
    for name in _NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
