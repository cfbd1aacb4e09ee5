"""Multi-scale deformable attention (Zhu et al., ICLR 2021) as one weighted sum of gathered rows.

The library samples each level by itself (`grid_sample` on transposed copies), stacks and multiplies: most of what a
pixel decoder costs. Here a query's sum over levels, points and the four corners of each is one bag of an
`embedding_bag` over the values where they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableAttention(nn.Module):
    """The library's module with its parameters, under its names and with its arguments."""

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        self.n_heads, self.n_levels, self.n_points = theirs.n_heads, theirs.n_levels, theirs.n_points
        self.sampling_offsets, self.attention_weights = theirs.sampling_offsets, theirs.attention_weights
        self.value_proj, self.output_proj = theirs.value_proj, theirs.output_proj

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        *,
        encoder_hidden_states: Tensor,
        position_embeddings: Tensor | None = None,
        reference_points: Tensor,
        spatial_shapes_list: Sequence[tuple[int, int]],
        **_: Any,
    ) -> tuple[Tensor, None]:
        """Attended queries (B, Q, C) of queries (B, Q, C) over a sequence (B, T, C); there are no weights to show.

        reference_points  (B, Q, levels, 2), x before y, as fractions of each level
        attention_mask    (B, T), True where the sequence holds padding
        """
        queries = hidden_states if position_embeddings is None else hidden_states + position_embeddings
        value = self.value_proj(encoder_hidden_states)
        if attention_mask is not None:
            value = value.masked_fill(attention_mask[..., None], 0.0)
        places = (self.n_heads, self.n_levels, self.n_points)
        offsets = self.sampling_offsets(queries).unflatten(-1, (*places, 2))  # (B, Q, heads, levels, points, 2)
        weights = self.attention_weights(queries).unflatten(-1, (self.n_heads, -1)).softmax(dim=-1)
        weights = weights.unflatten(-1, places[1:])  # (B, Q, heads, levels, points)
        return self.output_proj(sampled_sum(value, offsets, weights, reference_points, spatial_shapes_list)), None


def sampled_sum(
    value: Tensor, offsets: Tensor, weights: Tensor, reference: Tensor, shapes: Sequence[tuple[int, int]]
) -> Tensor:
    """Sum of bilinear samples, 0 outside of a level: (B, Q, C).

    value    (B, T, C), the levels of height x width `shapes` one behind the other, C the heads' channels
    offsets  (B, Q, heads, levels, points, 2) in pixels of the level, from the reference points (B, Q, levels, 2)
    weights  (B, Q, heads, levels, points)
    """
    n_heads = offsets.shape[2]
    sizes = torch.tensor(shapes, dtype=torch.int32, device=value.device)  # (levels, 2): height, width
    n_places = sizes.prod(dim=1, dtype=torch.int32)
    starts = (n_places.cumsum(dim=0, dtype=torch.int32) - n_places)[:, None]
    height, width = sizes[:, :1], sizes[:, 1:]  # (levels, 1), beside points
    # Pixel centres lie at halves: the reference in pixels, less half a pixel (align_corners=False).
    centres = (reference * sizes.flip(-1) - 0.5)[:, :, None, :, None]  # (B, Q, 1, levels, 1, 2)
    x, y = (centres + offsets).unbind(dim=-1)
    left, above = x.detach().floor(), y.detach().floor()
    to_right, to_below = x - left, y - above
    left, above = left.int(), above.int()
    image = torch.arange(len(value), dtype=torch.int32, device=value.device).view(-1, 1, 1, 1, 1) * value.shape[1]
    head = torch.arange(n_heads, dtype=torch.int32, device=value.device).view(1, 1, -1, 1, 1)
    rows, shares = [], []
    for column, by_column in ((left, 1 - to_right), (left + 1, to_right)):
        within = (column >= 0) & (column < width)
        by_column = torch.where(within, by_column, 0.0) * weights
        column = column.clamp(min=0).minimum(width - 1)
        for row, by_row in ((above, 1 - to_below), (above + 1, to_below)):
            inside = (row >= 0) & (row < height)
            row = row.clamp(min=0).minimum(height - 1)
            rows.append((image + starts + row * width + column) * n_heads + head)
            shares.append(torch.where(inside, by_row, 0.0) * by_column)
    bags, n_rows = offsets.shape[:3].numel(), 4 * weights.shape[3:].numel()
    # Each row of the table is what one head sees at one place.
    table = value.reshape(-1, value.shape[-1] // n_heads)
    picked = torch.stack(rows, dim=-1).view(bags, n_rows)
    summed = F.embedding_bag(
        picked, table, per_sample_weights=torch.stack(shares, dim=-1).view(bags, n_rows).to(table.dtype), mode="sum"
    )
    return summed.view(*offsets.shape[:2], -1)
