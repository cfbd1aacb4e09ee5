"""A class whose images several ranks share out: whole batches, dealt like cards, put together again on rank 0.

So a batch holds the same images however many ranks there are, and accumulators merge exactly: rows are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adbench.data.sample import Sample
from adbench.engine import ranks
from adbench.engine.accumulators import ClassAccumulator
from adbench.engine.adapt import MemoryBank
from adbench.engine.pictures import Shortlist
from adbench.engine.rng import draws_in_order
from adbench.engine.rounds import dealt
from adbench.methods.base import Method


class Share(NamedTuple):
    """What a rank has of a class: an accumulator per support set, pictures, and what a method has fitted."""

    accumulators: list[ClassAccumulator]
    shortlist: Shortlist | None
    fitted: list[MemoryBank]


def takes_whole_classes(method: Method) -> bool:
    """Whether a class goes to one rank: what is fitted, chosen or drawn for one image serves the others."""
    return method.fits or method.selects_on_test or method.transductive or draws_in_order(method)


def share_of(samples: Sequence[Sample], method: Method, batch_size: int, number: int) -> list[Sample]:
    """The samples of class `number` that this rank scores: every n-th batch, another rank's first in every class."""
    turn = (ranks.rank() - number) % ranks.count()
    if takes_whole_classes(method):
        return list(samples) if turn == 0 else []
    return dealt(samples, batch_size, turn)


def put_together(share: Share, samples: Sequence[Sample], outbox: ranks.Outbox) -> Share:
    """The share of rank 0 with those that the others have sent; `seconds` are those of the rank that took longest."""
    fitted = share.fitted
    for other in outbox.receive():
        for mine, theirs in zip(share.accumulators, other.accumulators, strict=True):
            seconds = max(mine.seconds, theirs.seconds)
            mine.merge(theirs)
            mine.seconds = seconds
        if share.shortlist is not None:
            share.shortlist.merge(other.shortlist, [sample.key for sample in samples])
        fitted = fitted or other.fitted
    return share._replace(fitted=fitted)
