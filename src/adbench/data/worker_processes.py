"""Loader processes: what they run, what they send, and what is said when one of them dies."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from adbench.errors import UserError, from_system
from adbench.interrupts import ignore_in_worker

_T = TypeVar("_T")

_LESS = "give fewer of them (eval.workers=0, trainer.workers=0) or smaller batches"
# What is said of a full GPU beside torch's own memory: of the driver's context, of the libraries'.
_NO_ROOM = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
# What torch says when the system has ended a loader process, or has no shared memory or open files left for it.
_DEATHS = ("DataLoader worker (pid", "shared memory", "</torch_", "ancdata", "Too many open files")


@contextlib.contextmanager
def told_of_lost_memory() -> Iterator[None]:
    """Raise UserError for a GPU without room, and for loader processes that died.

    Of these torch tells wherever the main thread happens to be.
    """
    try:
        yield
    except RuntimeError as error:
        told = lost_memory(error)
        if told is None:
            raise
        try:
            raise told from error
        finally:
            del (
                told
            )  # else it and this frame would hold each other, and torch's loader, which ends its processes when freed


@atexit.register
def _end_those_left() -> None:
    """End loader processes that somebody holds: multiprocessing would send SIGTERM, which they ignore, and wait."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def lost_memory(error: RuntimeError) -> UserError | None:
    """What to say of an error of torch where memory was lacking; None where it was not."""
    said = str(error).strip().splitlines() or [""]
    full = [line for line in said if any(sign in line for sign in _NO_ROOM)]  # not first where a thread met it
    if full or isinstance(error, torch.OutOfMemoryError):
        return UserError(
            f"the GPU has not enough memory: {[*full, *said][0].strip()}",
            where="device",
            hint="use smaller batches (eval.batch_size, trainer.batch_size; batch_size of predict), or device=cpu",
        )
    if any(sign in str(error) for sign in _DEATHS):
        return UserError(
            f"a loader process died, most likely for want of memory: {said[-1]}", where="workers", hint=_LESS
        )
    return None


def from_workers(data: Dataset[_T | SentError], places: Sequence[Any], *, workers: int, pinned: bool) -> Iterator[_T]:
    """What lies at `places` of `data`, in order, made by processes. Raises UserError for a fault that one has met."""
    # A generator of its own, so that starting workers draws nothing from torch's global one (exact resume).
    loader: DataLoader[_T | SentError] = DataLoader(
        data,
        batch_size=None,
        sampler=places,
        num_workers=workers,
        collate_fn=_as_it_is,
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=_leave_signals,
        pin_memory=pinned,
    )
    with told_of_lost_memory():
        for loaded in loader:
            if isinstance(loaded, SentError):
                raise loaded.error()
            yield loaded


def faultless(make: Callable[[], _T]) -> _T | SentError:
    """What is made, or the fault that comes of it, to be sent to the main process."""
    try:
        return make()
    except UserError as error:
        return SentError(error)
    except OSError as error:
        return SentError(from_system(error))
    except MemoryError:
        return SentError(UserError("there is not enough memory to load a batch", where="workers", hint=_LESS))


class SentError:
    """A UserError on its way from a worker: torch would re-raise it with the worker's traceback as its text."""

    def __init__(self, error: UserError) -> None:
        self.what, self.where, self.hint = error.what, error.where, error.hint

    def error(self) -> UserError:
        """The error as the worker raised it."""
        return UserError(self.what, where=self.where, hint=self.hint)


def _leave_signals(_worker: int) -> None:
    ignore_in_worker()


def _as_it_is(batch: Any) -> Any:
    return batch
