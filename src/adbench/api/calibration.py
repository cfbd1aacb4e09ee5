"""What a detector says of the normal pictures of a calibration, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from adbench.api.contents import Picture
from adbench.api.image_prediction import ImagePrediction
from adbench.engine.rounds import in_rounds
from adbench.errors import UserError


class NormalScore(NamedTuple):
    """The score of a normal picture, and the smallest and largest value of its map; none where there is no map."""

    score: float
    low: float | None
    high: float | None


def scores_in_order(
    mine: Iterable[tuple[Picture, ImagePrediction | UserError]],
    size: int,
    n: int,
    progress: Callable[[int], object],
    broken: Callable[[UserError], object] | None,
) -> list[NormalScore | None]:
    """Of each of `n` pictures, shared out in batches of `size`; None of one that cannot be read.

    mine    those of this process, with what a detector has said of them
    broken  called with what is wrong with a picture; None: that is raised
    """
    scores: list[NormalScore | None] = []

    def take(results: Sequence[NormalScore | UserError]) -> None:
        for result in results:
            if isinstance(result, UserError):
                if broken is None:
                    raise result
                broken(result)
            scores.append(None if isinstance(result, UserError) else result)
        progress(len(results))

    in_rounds(_without_maps(mine), size, n, take)
    return scores


def _without_maps(results: Iterable[tuple[Picture, ImagePrediction | UserError]]) -> Iterator[NormalScore | UserError]:
    for _, result in results:
        if isinstance(result, UserError):
            yield result
        elif result.map is None:
            yield NormalScore(result.score, None, None)
        else:
            yield NormalScore(result.score, float(np.nanmin(result.map)), float(np.nanmax(result.map)))
