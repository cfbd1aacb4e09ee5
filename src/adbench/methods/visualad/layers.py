"""VisualAD's learned layers, under the names of the authors' checkpoints: attention to patches, and a map's own MLP."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageDropout:
    """Dropout in training, what each image loses drawn from a stream of its own: its batch does not matter."""

    def __init__(self, rate: float, seeds: Sequence[int], device: torch.device) -> None:
        self._rate = rate
        self._streams = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, x: Tensor) -> Tensor:
        """(B, ...), scaled so that the expectation stays."""
        draws = torch.stack([torch.rand(x.shape[1:], generator=stream, device=x.device) for stream in self._streams])
        return x * (draws >= self._rate) / (1 - self._rate)


class CrossAttention(nn.Module):
    """The "SCA" of one level: anchors gather patches, a gate says how much of each a token takes."""

    def __init__(self, width: int, n_anchors: int, n_positions: int) -> None:
        super().__init__()
        self.anchor_queries = nn.Parameter(torch.randn(n_anchors, width) * 0.02)
        self.pos_encoding = nn.Parameter(torch.randn(1, n_positions, width) * 0.02)
        self.res_scale = nn.Parameter(torch.tensor([0.01]))
        self.q_proj = _xavier(nn.Linear(width, width, bias=False))
        self.k_proj = _xavier(nn.Linear(width, width, bias=False))
        self.v_proj = _xavier(nn.Linear(width, width, bias=False))
        self.q_norm, self.k_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.gate = nn.Sequential(nn.Linear(width, n_anchors), nn.Sigmoid())
        self.out_proj = _xavier(nn.Linear(width, width))

    def forward(self, tokens: Sequence[Tensor], patches: Tensor, dropout: ImageDropout | None) -> list[Tensor]:
        """Each of `tokens` (B, V) with what the anchors find in the patches (B, T, V), which knows no token."""
        width = patches.shape[-1]
        query = self.q_norm(self.q_proj(self.anchor_queries))  # (A, V)
        key = self.k_norm(self.k_proj(patches + self.pos_encoding[:, : patches.shape[1]]))
        attention = (query @ key.transpose(1, 2) * width**-0.5).softmax(dim=-1)  # (B, A, T)
        gathered = None
        results = []
        for token in tokens:
            if gathered is None or dropout is not None:
                weights = attention if dropout is None else dropout(attention)
                gathered = self.v_proj(weights @ patches)  # (B, A, V); projected after the sum over patches: cheaper
            attended = self.out_proj((self.gate(token).unsqueeze(-1) * gathered).sum(dim=1))
            results.append(token + self.res_scale * (attended if dropout is None else dropout(attended)))
        return results


class CrossAttentions(nn.Module):
    """One `CrossAttention` per level."""

    def __init__(self, layers: Sequence[int], width: int, n_anchors: int, n_positions: int) -> None:
        super().__init__()
        made = {f"layer_{layer}": CrossAttention(width, n_anchors, n_positions) for layer in layers}
        self.layer_attentions = nn.ModuleDict(made)


class PatchMlp(nn.Module):
    """The "SAF" of one level: patches as the map sees them, V -> V -> V, no residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = _xavier(nn.Linear(width, width)), _xavier(nn.Linear(width, width))
        self.mlp = nn.Sequential(first, nn.GELU(), nn.Identity(), second)  # the authors' numbers: dropout is third

    def forward(self, patches: Tensor, dropout: ImageDropout | None) -> Tensor:
        """(B, T, V) -> (B, T, V)."""
        hidden = F.gelu(self.mlp[0](patches))
        result: Tensor = self.mlp[3](hidden if dropout is None else dropout(hidden))
        return result if dropout is None else dropout(result)


def _xavier(linear: nn.Linear) -> nn.Linear:
    nn.init.xavier_uniform_(linear.weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear
