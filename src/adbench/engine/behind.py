"""What goes on behind a loop, in a thread: metrics and pictures, so that the image tower need not wait for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType

from adbench.interrupts import deferred


class Behind:
    """Calls that are made in the order in which they are given, while who gives them goes on. Use it with `with`.

    At most `room` of them are under way: who gives another one waits. The first error ends the work: the next `give`
    raises it, or the end of the `with`, which waits for all calls, also after an error of the loop's own, and after a
    Ctrl-C that comes before or meanwhile.
    """

    def __init__(self, room: int) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(room)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Behind:
        return self

    def give(self, call: Callable[[], object]) -> None:
        """Have `call` made when those before it are done."""
        self._room.acquire()
        if self._error is not None:
            raise self._error
        if self._thread is None:  # not before: loader processes are better started from a process of one thread
            self._thread = threading.Thread(target=self._work, name="adbench-behind", daemon=True)
            self._thread.start()
        self._calls.put(call)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            with deferred():
                self._calls.put(None)
                self._thread.join()
        # Of two errors, this one came first: it is of something that was given before the loop failed.
        if self._error is not None and self._error is not error and not isinstance(error, KeyboardInterrupt):
            raise self._error

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if self._error is None:
                try:
                    call()
                except BaseException as error:
                    self._error = error
            del call  # and the batch that it holds
            self._room.release()
