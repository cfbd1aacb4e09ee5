"""From what the queries say of each view to one map per image, at the size of the stored image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.methods.vl4ad.scoring import PIXEL_SCORES, Frame, PixelScore, class_sums, score_map
from adbench.methods.vl4ad.views import View, averaged


@dataclass(frozen=True, slots=True)
class Queries:
    """Mask logits (..., N, h, w) and kept class probabilities (..., N, K) of one view, of a batch or of one image."""

    masks: Tensor
    probability: Tensor

    def of(self, index: int) -> Queries:
        """Those of one image of the batch."""
        return Queries(self.masks[index], self.probability[index])


def image_map(looks: Sequence[Queries], views: Sequence[View], frame: Frame, score: PixelScore) -> Tensor:
    """The pixel scores (H, W) of one image from its views: the whole, or windows."""
    if len(views) == 1:
        return score_map(looks[0].masks, looks[0].probability, frame, score)
    return torch.cat([PIXEL_SCORES[score](sums) for sums in image_sums(looks, views, frame)])


def image_sums(looks: Sequence[Queries], views: Sequence[View], frame: Frame) -> Iterator[Tensor]:
    """The class sums of one image in strips of rows (K, rows, W); of windows, averaged where they overlap, as one."""
    if len(views) == 1:
        yield from class_sums(looks[0].masks, looks[0].probability, frame)
        return
    parts = []
    for look, view in zip(looks, views, strict=True):
        window = Frame(view.size, view.size, view.size)
        parts.append(torch.cat(list(class_sums(look.masks, look.probability, window)), dim=1))
    whole = averaged(parts, views, frame.padded)[:, : frame.content[0], : frame.content[1]]
    yield F.interpolate(whole[None], size=frame.original, mode="bilinear", align_corners=False)[0]
