"""Things in a row, dealt out to ranks in whole batches, and what came of each told to all in the order of the row.

A batch holds the same things however many ranks there are, so what comes of them is the same too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from adbench.engine import ranks
from adbench.interrupts import Interrupted, deferred, waiting

_T = TypeVar("_T")


def batches_of(things: Sequence[_T], size: int) -> list[Sequence[_T]]:
    """Neighbours in batches of `size`, the last one smaller."""
    return [things[start : start + size] for start in range(0, len(things), size)]


def dealt(things: Sequence[_T], size: int, turn: int | None = None) -> list[_T]:
    """The things of every n-th batch of n ranks, from that of number `turn` (this rank's own) on."""
    first = ranks.rank() if turn is None else turn
    return [thing for batch in batches_of(things, size)[first :: ranks.count()] for thing in batch]


def in_rounds(mine: Iterable[_T], size: int, n: int, take: Callable[[Sequence[_T]], object]) -> None:
    """Call `take` on all ranks with what has come of the things of a round, in order: a batch of each rank a round.

    n     how many things there are in all
    mine  what comes of the things that were `dealt` to this rank in batches of `size`; computed here, a round at a time
    Of several ranks, a signal to one stops all after the round that it came in (Interrupted).
    """
    results, n_batches = iter(mine), -(-n // size)
    with deferred() if ranks.count() > 1 else contextlib.nullcontext():
        for _ in range(-(-n_batches // ranks.count())):
            told = ranks.gather((list(islice(results, size)), waiting()))
            take([result for batch, _ in told for result in batch])
            if signal := next((number for _, number in told if number is not None), None):
                raise Interrupted(signal)
