"""From class logits and masks to pixel scores (paper, equations 1 to 3; FC-CLIP's out-of-vocabulary ensemble)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.methods.vl4ad.views import View, averaged

PixelScore = Literal["max", "one_minus_max", "rba"]
# From class sums P (K, ...), which may exceed 1 and are never clipped; higher = more anomalous.
PIXEL_SCORES: dict[PixelScore, Callable[[Tensor], Tensor]] = {
    "max": lambda sums: -sums.amax(dim=0),  # equation 3
    "one_minus_max": lambda sums: 1 - sums.amax(dim=0),  # Mask2Anomaly: the same ranking
    "rba": lambda sums: -sums.tanh().sum(dim=0),  # RbA
}
# Values (queries x pixels) that are upsampled at a time: 64 MiB in float32.
STRIP_VALUES = 1 << 24


def class_probability(logits: Tensor, n_kept: int, *, use_void: bool) -> Tensor:
    """Equation 1: softmax over the columns of (..., columns + void), of which the first `n_kept` are kept.

    use_void  False leaves void out of the softmax
    """
    return (logits if use_void else logits[..., :-1]).softmax(dim=-1)[..., :n_kept]


def ensembled_probability(
    logits: Tensor, clip_logits: Tensor, n_kept: int, *, seen: Tensor, alpha: float, beta: float, use_void: bool
) -> Tensor:
    """Geometric mean of the learned classifier (..., columns + void) and frozen CLIP (..., columns), first kept.

    The exponent of CLIP is `alpha` for columns that were trained on (`seen`), `beta` for others. Both softmaxes are
    without void; with `use_void` the result is multiplied by the learned classifier's 1 - p(void).
    """
    exponent = torch.where(seen, alpha, beta).to(logits)
    learned, frozen = logits[..., :-1].log_softmax(dim=-1), clip_logits.log_softmax(dim=-1)
    combined = ((1 - exponent) * learned + exponent * frozen).softmax(dim=-1)
    if use_void:
        combined = combined * (1 - logits.softmax(dim=-1)[..., -1:])
    return combined[..., :n_kept]


@dataclass(frozen=True, slots=True)
class ImageSizes:
    """Sizes (height, width) of one image on its way back: padded tensor, its content without padding, stored image."""

    padded: tuple[int, int]
    content: tuple[int, int]
    original: tuple[int, int]


def class_sums(
    mask_logits: Tensor, probability: Tensor, sizes: ImageSizes, *, strip_values: int = STRIP_VALUES
) -> Iterator[Tensor]:
    """Equation 2 in strips of rows: P_k = sum over queries of mask times class probability, each (K, rows, W).

    Mask logits (N, h, w) are resized to the padded size, cropped to the content, resized to the original size, and only
    then squashed, as FC-CLIP does it; of each of these no more than a strip is ever held. `probability` is (N, K).
    """
    height, width = sizes.original
    rows = max(1, strip_values // (len(mask_logits) * max(width, sizes.padded[1])))
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        masks = _strip(mask_logits, sizes, start, stop).sigmoid()  # (N, rows, W)
        wide = torch.promote_types(masks.dtype, torch.float32)
        with torch.autocast(masks.device.type, enabled=False):  # near 1, half precision has steps of 1/256
            sums = torch.einsum("nk,nhw->khw", probability.to(wide), masks.to(wide))
        yield sums


def image_sums(looks: Sequence[tuple[Tensor, Tensor]], views: Sequence[View], sizes: ImageSizes) -> Iterator[Tensor]:
    """The class sums of one image in strips of rows (K, rows, W); of windows, averaged where they overlap, as one.

    looks  for each view of the image (the whole, or windows) mask logits (N, h, w) and class probabilities (N, K)
    """
    if len(views) == 1:
        yield from class_sums(*looks[0], sizes)
        return
    parts = []
    for (masks, probability), view in zip(looks, views, strict=True):
        window = ImageSizes(view.size, view.size, view.size)
        parts.append(torch.cat(list(class_sums(masks, probability, window)), dim=1))
    whole = averaged(parts, views, sizes.padded)[:, : sizes.content[0], : sizes.content[1]]
    yield F.interpolate(whole[None], size=sizes.original, mode="bilinear", align_corners=False)[0]


def score_map(strips: Iterable[Tensor], score: PixelScore) -> Tensor:
    """The pixel scores (H, W) of an image from its class sums in strips of rows."""
    return torch.cat([PIXEL_SCORES[score](sums) for sums in strips])


def _strip(mask_logits: Tensor, sizes: ImageSizes, start: int, stop: int) -> Tensor:
    """Rows start to stop - 1 of the masks at original size, still as logits: (N, stop - start, W)."""
    if sizes.content == sizes.original:
        return _columns(_rows(mask_logits, sizes.padded[0], start, stop), sizes.padded[1])[..., : sizes.content[1]]
    # The content's rows that these rows lie between, then these rows themselves.
    low, high, _ = _between(sizes.content[0], sizes.original[0], start, stop)
    first, last = int(low[0]), int(high[-1]) + 1
    content = _columns(_rows(mask_logits, sizes.padded[0], first, last), sizes.padded[1])[..., : sizes.content[1]]
    rows = _rows(content, sizes.original[0], start, stop, n_source=sizes.content[0], first=first)
    return _columns(rows, sizes.original[1])


def _columns(x: Tensor, width: int) -> Tensor:
    """(N, h, w) resized along its rows to (N, h, width)."""
    if x.shape[-1] == width:
        return x
    return F.interpolate(x.unsqueeze(0), size=(x.shape[-2], width), mode="bilinear", align_corners=False)[0]


def _rows(x: Tensor, n_rows: int, start: int, stop: int, *, n_source: int | None = None, first: int = 0) -> Tensor:
    """Rows start to stop - 1 of what (N, n_source, w) would be if it were resized to `n_rows`.

    `x` may hold only a part of the source's rows, from `first` on.
    """
    n_source = x.shape[-2] if n_source is None else n_source
    if n_source == n_rows:
        return x[:, start - first : stop - first]
    low, high, weight = _between(n_source, n_rows, start, stop)
    weight = weight.to(x)[:, None]
    low, high = low.to(x.device) - first, high.to(x.device) - first
    return x[:, low] * (1 - weight) + x[:, high] * weight


def _between(n_source: int, n_rows: int, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bilinear interpolation, corners not aligned: the two source rows of each row, and the weight of the second."""
    at = ((torch.arange(start, stop, dtype=torch.float64) + 0.5) * (n_source / n_rows) - 0.5).clamp(min=0)
    low = at.floor().long()
    return low, (low + 1).clamp(max=n_source - 1), at - low
