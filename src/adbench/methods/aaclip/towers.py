"""The four ways in which AA-CLIP runs CLIP's towers: adapted and plain, and the image tower with "surgery"."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.clip.model import Interpolation
from adbench.clip.towers import after_mlp, run_blocks
from adbench.methods.aaclip.adapters import adapted

POSITIONS: Interpolation = "bicubic_antialias"


def plain_image(clip: Clip, images: Tensor, numbers: Collection[int]) -> tuple[dict[int, Tensor], Tensor]:
    """Plain CLIP: tokens (B, 1 + T, V) after the blocks `numbers` (0: before the first), and features (B, C).

    The features of the images are of unit length.
    """
    tokens = clip.model.visual.ln_pre(clip.embed_image(images, interpolation=POSITIONS))
    streams = run_blocks(clip.model.visual.transformer.resblocks, tokens, collect=numbers, last_row=0)
    return {0: tokens, **streams.blocks}, F.normalize(clip.project(streams.tokens[:, 0]), dim=-1)


def first_block(clip: Clip, images: Tensor) -> Tensor:
    """Tokens (B, 1 + T, V) after the first block, which no adapter changes."""
    tokens = clip.model.visual.ln_pre(clip.embed_image(images, interpolation=POSITIONS))
    return run_blocks(clip.model.visual.transformer.resblocks[:1], tokens).tokens


def adapted_levels(
    clip: Clip, tokens: Tensor, adapters: nn.ModuleList, weight: float, levels: Collection[int]
) -> dict[int, Tensor]:
    """Tokens (B, 1 + T, V) after the blocks of `levels`, adapters included, from those after the first block."""
    collected = {}

    def after(number: int, x: Tensor) -> Tensor:
        x = adapted(x, adapters[number - 1], weight) if number <= len(adapters) else x
        if number in levels:
            collected[number] = x
        return x

    blocks = clip.model.visual.transformer.resblocks[: max(levels)]
    streams = run_blocks(blocks, tokens, start=2, edit=lambda number, x: after(number - 1, x))
    after(len(blocks), streams.tokens)
    return collected


def surgery_levels(
    clip: Clip, tokens: Tensor, first: int, levels: Collection[int], *, over_batch: bool
) -> dict[int, Tensor]:
    """Tokens after the blocks of `levels` from `first` on, where values attend to values; `tokens` come before it.

    over_batch  images of the batch attend to each other, at every position by itself, as the authors' code has it
                (their attention takes the batch for the sequence); else positions of an image do
    """
    blocks, x, collected = clip.model.visual.transformer.resblocks, tokens, {}
    for number in range(first, max(levels) + 1):
        block = blocks[number - 1]
        attention = block.attn
        width = x.shape[-1]
        weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
        value = F.linear(block.ln_1(x).to(weight.dtype), weight, bias).unflatten(
            -1, (attention.num_heads, -1)
        )  # (B, T, heads, d)
        value = value.permute(1, 2, 0, 3) if over_batch else value.transpose(1, 2)
        mixed = F.scaled_dot_product_attention(value, value, value)
        mixed = mixed.permute(2, 0, 1, 3) if over_batch else mixed.transpose(1, 2)
        x = x + block.ls_1(attention.out_proj(mixed.flatten(2)))
        x = after_mlp(block, x)
        if number in levels:
            collected[number] = x
    return collected


def sentence_features(clip: Clip, texts: Sequence[str], adapters: nn.ModuleList | None, weight: float) -> Tensor:
    """Text features (n, C) of sentences, not normalised; the last of `adapters` takes the place of the projection.

    None: plain CLIP's.
    """
    ids = clip.tokenize(texts)
    if adapters is None:
        with torch.no_grad():
            return clip.encode_text(ids)
    text, blocks = clip.embed_text(ids), clip.model.transformer.resblocks
    n_adapted = len(adapters) - 1

    def before(number: int, x: Tensor) -> Tensor:
        return adapted(x, adapters[number - 2], weight) if 2 <= number <= n_adapted + 1 else x

    end = run_blocks(blocks, text.tokens, causal=True, edit=before, last_row=text.end).tokens[:, 0]
    end = before(len(blocks) + 1, end)
    result: Tensor = adapters[n_adapted](clip.model.ln_final(end))
    return result
