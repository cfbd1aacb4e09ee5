"""CLIP's two towers written out for training on a CPU, reading the parameters of an open_clip model.

Attention as matmul, softmax, matmul is about three times faster in the backward pass there than torch's fused kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import nn

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def _attention(x: torch.Tensor, block: nn.Module, heads: int, mask: torch.Tensor | None) -> torch.Tensor:
    b, n, width = x.shape
    attn = block.attn
    qkv = F.linear(x, attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = qkv.view(b, n, 3, heads, width // heads).permute(2, 0, 3, 1, 4)  # each (B, heads, N, d)
    logits = (q * (width // heads) ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        logits = logits + mask
    x = (logits.softmax(-1) @ v).transpose(1, 2).reshape(b, n, width)
    return F.linear(x, attn.out_proj.weight, attn.out_proj.bias)


def _block(x: torch.Tensor, block: nn.Module, heads: int, mask: torch.Tensor | None = None) -> torch.Tensor:
    x = x + _attention(block.ln_1(x), block, heads, mask)
    return x + block.mlp(block.ln_2(x))


def to_patches(pictures: torch.Tensor, patch: int) -> torch.Tensor:
    """Pictures (B, S, S, 3) uint8 to normalised patches (B, N, patch * patch * 3) float32."""
    b, size = pictures.shape[:2]
    g = size // patch
    x = (pictures.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return x.view(b, g, patch, g, patch, 3).transpose(2, 3).reshape(b, g * g, patch * patch * 3)


def vision_forward(
    visual: nn.Module, pictures: torch.Tensor, collect: tuple[int, ...]
) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """Class embedding (B, D) and patch tokens (B, N, width) after the 1-based blocks in ``collect``.

    Positions are interpolated when the pictures are smaller than the model's size.
    """
    weight = visual.conv1.weight  # (width, 3, p, p)
    patch = weight.shape[-1]
    x = to_patches(pictures, patch).to(weight.dtype)
    x = F.linear(x, weight.permute(0, 2, 3, 1).flatten(1))  # (B, N, width)
    token = visual.class_embedding.expand(x.shape[0], 1, -1)
    position = visual.positional_embedding
    g = pictures.shape[1] // patch
    full = round((position.shape[0] - 1) ** 0.5)
    if g != full:
        square = position[1:].float().T.reshape(1, -1, full, full)
        square = F.interpolate(square, size=(g, g), mode="bilinear", align_corners=False, antialias=True)
        position = torch.cat([position[:1], square.flatten(2)[0].T.to(position.dtype)])
    x = visual.ln_pre(torch.cat([token, x], 1) + position)
    heads = visual.transformer.resblocks[0].attn.num_heads
    kept = {}
    for k, block in enumerate(visual.transformer.resblocks, 1):
        x = _block(x, block, heads)
        if k in collect:
            kept[k] = x[:, 1:]
    return visual.ln_post(x[:, 0]) @ visual.proj, kept


def text_forward(model: CLIP, rows: torch.Tensor, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Text embeddings (B, D): tokens (B, L) index ``rows``, ``lengths`` is the position of the end token."""
    n = tokens.shape[1]
    x = F.embedding(tokens, rows) + model.positional_embedding[:n]
    mask = model.attn_mask[:n, :n]
    heads = model.transformer.resblocks[0].attn.num_heads
    for block in model.transformer.resblocks:
        x = _block(x, block, heads, mask)
    return model.ln_final(x)[torch.arange(len(x)), lengths] @ model.text_projection


class DefectHead(nn.Module):
    """Thrown away after pre-training: defect logit and kind logits of each patch token, (B, N, 1 + kinds)."""

    def __init__(self, width: int, kinds: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 128), nn.GELU(), nn.Linear(128, 1 + kinds))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, N, width) to float32 logits."""
        return self.layers(tokens).float()
