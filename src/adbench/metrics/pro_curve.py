"""The curve behind AUPRO, thinned so that a drawing loses nothing: mean share found of every region over FPR."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from adbench.metrics.ranking import Curve

N_SLOTS = 200  # of false-positive rates; the curve's first and last point in each are kept

Point = tuple[float, float]
"""False-positive rate and mean share of a region that is found (PRO), both in [0, 1]."""


def noting(stretches: Iterable[Curve], limit: float, points: list[Point]) -> Iterator[Curve]:
    """Pass on the stretches of a curve, and append its points up to the false-positive rate `limit` to `points`."""
    x, y = np.zeros(1), np.zeros(1)
    for part in stretches:
        yield part
        if part.coverage is None or x[-1] >= limit:
            continue
        fpr = np.stack([part.alarms_above, part.alarms[1:]], 1).reshape(-1) / part.n_negatives
        pro = np.stack([part.coverage[:-1], part.coverage[1:]], 1).reshape(-1)
        end = int(np.searchsorted(fpr, limit)) + 1  # with the first point at or beyond the limit
        x, y = np.append(x[-1], fpr[:end]), np.append(y[-1], pro[:end])
        if x[-1] > limit:
            y[-1] = np.interp(limit, x[-2:], y[-2:])
            x[-1] = limit
        slots = np.floor(x / limit * N_SLOTS)
        ends = np.append(slots[1:] != slots[:-1], True)
        shown = ends | np.append(True, ends[:-1])
        points += [(float(a), float(b)) for a, b in zip(x[shown], y[shown], strict=True)]
    if points and x[-1] < limit:
        points += [(float(x[-1]), 1.0), (limit, 1.0)]  # below the lowest score of a region every region is found
