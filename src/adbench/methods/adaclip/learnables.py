"""The learnable parts of AdaCLIP, under the names of the authors' checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Prompter(nn.Module):
    """Static prompts of one branch: `depth` tables of (length, width), drawn from N(0, 0.02^2); none if depth is 0."""

    def __init__(self, depth: int, length: int, width: int) -> None:
        super().__init__()
        tables = (nn.Parameter(torch.empty(length, width)) for _ in range(depth))
        self.static_prompts = nn.ParameterList(nn.init.normal_(table, std=0.02) for table in tables)


class LinearHeads(nn.Module):
    """Parallel linear layers: one per used image layer, or one per dynamic prompt token."""

    def __init__(self, n_heads: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.head = nn.ModuleList(nn.Linear(n_in, n_out) for _ in range(n_heads))

    def forward(self, x: Tensor) -> Tensor:
        """Every head applied to the same (B, n_in): (B, heads, n_out)."""
        return torch.stack([head(x) for head in self.head], dim=1)


class Learnables(nn.Module):
    """Everything that AdaCLIP trains (section 2 of the specification's table, in the optimiser's order)."""

    def __init__(
        self,
        *,
        depth: int,
        length: int,
        static_text: bool,
        static_visual: bool,
        dynamic: bool,
        n_layers: int,
        vision_width: int,
        embed_dim: int,
    ) -> None:
        super().__init__()
        self.text_prompter = Prompter(depth if static_text else 0, length, embed_dim)
        self.visual_prompter = Prompter(depth if static_visual else 0, length, vision_width)
        self.patch_token_layer = LinearHeads(n_layers, vision_width, embed_dim)
        self.cls_token_layer = LinearHeads(1, embed_dim, embed_dim)
        n_dynamic = length if dynamic else 0
        self.dynamic_visual_prompt_generator = LinearHeads(n_dynamic, embed_dim, vision_width)
        self.dynamic_text_prompt_generator = LinearHeads(n_dynamic, embed_dim, embed_dim)
