"""The class head of FC-CLIP: what lies under a query's mask, as a vector in CLIP's joint space, against text."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.methods.vl4ad.vocabulary import Columns

_LARGEST_SCALE = 100.0


class ClassHead(nn.Module):
    """Mask pooling, class embedding, temperature and void; initialised as PyTorch does, void N(0, 1)."""

    def __init__(self, hidden_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.pooling_proj = nn.Sequential(nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, hidden_dim))
        self.class_embed = nn.ModuleList(nn.Linear(hidden_dim, width) for width in (hidden_dim, hidden_dim, embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.void_embedding = nn.Embedding(1, embed_dim)

    def forward(self, hidden: Tensor, mask_logits: Tensor, mask_features: Tensor) -> Tensor:
        """Class embeddings v (B, N, E), not normalised, of queries (B, N, C) with masks (B, N, h, w)."""
        pooled = pool_under_masks(mask_features, mask_logits)
        x = self.pooling_proj(pooled) + hidden
        first, second, last = self.class_embed
        embeddings: Tensor = last(second(first(x).relu()).relu())
        return embeddings

    def logits(self, embeddings: Tensor, columns: Columns) -> Tensor:
        """Class logits (..., columns + 1) of embeddings (..., E); void is last."""
        scale = self.logit_scale.exp().clamp(max=_LARGEST_SCALE)
        return with_void(embeddings, columns, self.void_embedding.weight, scale)


def with_void(embeddings: Tensor, columns: Columns, void: Tensor, scale: Tensor | float) -> Tensor:
    """Logits of the text columns and, last, the scaled cosine with the void vector (1, E): (..., columns + 1)."""
    return torch.cat(
        [columns.logits(embeddings, scale), scale * F.normalize(embeddings, dim=-1) @ F.normalize(void, dim=-1).T],
        dim=-1,
    )


def pool_under_masks(features: Tensor, mask_logits: Tensor) -> Tensor:
    """Mean of (B, C, h, w) over the pixels where the mask logit (B, N, h, w) is above 0: (B, N, C); 0 for none.

    The masks carry no gradient, the features do.
    """
    masks = (mask_logits.detach() > 0).to(features.dtype)
    sums = torch.einsum("bchw,bnhw->bnc", features, masks)
    return sums / (masks.sum(dim=(2, 3)) + 1e-8).unsqueeze(-1)
