"""What AA-CLIP keeps of the test images of a class: the range of all values, and of each image what the tower gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Raw:
    """Before the class is looked at as a whole: maps (B, S, S), scores (B,), blurred grids by level (B, G, G)."""

    maps: Tensor
    scores: Tensor
    grids: Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class RelatedClass:
    """What scores of a class need.

    ranges   smallest and largest value of its maps, then of its scores; scalars
    numbers  path -> row of `grids` (n, levels, G, G) and `scores` (n,); of images that a path of their own names
    """

    ranges: tuple[Tensor, Tensor, Tensor, Tensor]
    numbers: Mapping[str, int]
    grids: Tensor
    scores: Tensor


class Relating:
    """Collects what is kept of a class, chunk by chunk; maps, which are large, leave their range alone."""

    def __init__(self) -> None:
        self._ranges: list[tuple[Tensor, ...]] = []
        self._grids: list[Tensor] = []
        self._scores: list[Tensor] = []
        self._paths: list[str] = []

    def add(self, raw: Raw, paths: Sequence[str]) -> None:
        """Take in a chunk of images."""
        self._ranges.append((*raw.maps.aminmax(), *raw.scores.aminmax()))
        self._grids.append(torch.stack(list(raw.grids), dim=1))
        self._scores.append(raw.scores)
        self._paths += paths

    def done(self) -> RelatedClass:
        """The class as a whole."""
        low_map, high_map, low_score, high_score = (torch.stack(values) for values in zip(*self._ranges, strict=True))
        times = Counter(self._paths)
        return RelatedClass(
            (low_map.min(), high_map.max(), low_score.min(), high_score.max()),
            {path: number for number, path in enumerate(self._paths) if path and times[path] == 1},
            torch.cat(self._grids),
            torch.cat(self._scores),
        )


def raw_parts(classes: Sequence[RelatedClass], paths: Sequence[str]) -> tuple[list[Tensor], Tensor] | None:
    """Grids by level (B, G, G) and scores (B,) of images, each of its class; None where not all of them are known."""
    images = list(zip(classes, paths, strict=True))
    if not all(path in related.numbers for related, path in images):
        return None
    grids = torch.stack([related.grids[related.numbers[path]] for related, path in images])
    return list(grids.unbind(dim=1)), torch.stack([related.scores[related.numbers[path]] for related, path in images])


def scaled(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """To [0, 1] by the range of the class; left alone where the largest is exactly 1; 0 where all are equal."""
    span = high - low
    result = torch.where(span > 0, (values - low) / torch.where(span > 0, span, torch.ones_like(span)), 0.0)
    return torch.where(high == 1, values, result)
