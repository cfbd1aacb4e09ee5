"""Losses that the CLIP methods share: on two-channel probability maps (a value per image), and on image scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from adbench.data.sample import Batch

_SMOOTH = 1e-5


def known_masks(batch: Batch) -> tuple[slice | list[int], Tensor] | None:
    """The rows of the batch whose masks are known, and these masks (n, S, S); None where none is.

    Pixel losses are means over these rows: what is trained on an annotated image does not depend on the others.
    """
    if batch.masks is None:
        return None
    if batch.annotated is None or all(batch.annotated):
        return slice(None), batch.masks
    rows = [row for row, known in enumerate(batch.annotated) if known]
    return (rows, batch.masks[rows]) if rows else None


def n_known(batch: Batch) -> int:
    """The number of images of the batch whose masks are known."""
    known = known_masks(batch)
    return 0 if known is None else len(known[1])


def focal(normal: Tensor, abnormal: Tensor, target: Tensor) -> Tensor:
    """Focal loss on probabilities, gamma = 2, no class weights: (B, ...) x 3 -> (B,).

    `normal` and `abnormal` are the two channels, `target` is 1 where anomalous. The one-hot target is clamped to
    [1e-5, 1 - 1e-5] and 1e-5 is added to the probability of the target, as in the authors' code (AdaCLIP section 5,
    AnomalyCLIP section 2).
    """
    weight = target.to(abnormal.dtype).clamp(_SMOOTH, 1 - _SMOOTH)
    hit = weight * abnormal + (1 - weight) * normal + _SMOOTH
    return (-((1 - hit) ** 2) * hit.log()).flatten(1).mean(dim=1)


def dice(probabilities: Tensor, target: Tensor, *, rows: bool = False) -> Tensor:
    """Dice loss of maps (B, H, W) against a 0/1 target, smooth 1, no squares: (B,).

    `rows` takes each pixel row as a sample of its own and averages over them: what AdaCLIP's authors trained with.
    """
    dims = (-1,) if rows else (-2, -1)
    target = target.to(probabilities.dtype)
    overlap = (probabilities * target).sum(dims)
    total = probabilities.sum(dims) + target.sum(dims)
    loss = 1 - (2 * overlap + 1) / (total + 1)
    return loss.mean(dim=-1) if rows else loss


def map_losses(abnormal: Tensor, normal: Tensor, batch: Batch, *, rows: bool = False) -> dict[str, Tensor]:
    """Focal and dice losses of both states' probability maps (B, layers, S, S), on the n images whose masks are known.

    Returns "pixel_focal", "dice_abnormal" and "dice_normal", (n, layers) each; nothing where no mask is known.
    rows  see `dice`
    """
    known = known_masks(batch)
    if known is None:
        return {}
    images, masks = known[0], known[1].to(abnormal)
    layers = list(zip(abnormal[images].unbind(1), normal[images].unbind(1), strict=True))
    return {
        "pixel_focal": torch.stack([focal(n, a, masks) for a, n in layers], dim=1),
        "dice_abnormal": torch.stack([dice(a, masks, rows=rows) for a, _ in layers], dim=1),
        "dice_normal": torch.stack([dice(n, 1 - masks, rows=rows) for _, n in layers], dim=1),
    }


def score_focal(scores: Tensor, labels: Tensor, *, logits: bool, gamma: float = 2.0) -> Tensor:
    """Binary focal loss of image scores (B,), no class weights: a scalar.

    logits  take the score as a logit although it lies in [0, 1] (FAPrompt's and InCTRL's code: a second sigmoid)
    gamma   0 is the plain binary cross-entropy
    """
    target = labels.to(scores.dtype)
    if logits:
        entropy = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
    else:
        with torch.autocast(scores.device.type, enabled=False):  # autocast refuses this loss
            scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
            # Rounding may leave [0, 1].
            entropy = F.binary_cross_entropy(scores.clamp(0, 1), target.to(scores.dtype), reduction="none")
    return ((1 - torch.exp(-entropy)) ** gamma * entropy).mean() if gamma else entropy.mean()
