"""AdaCLIP's prompted passes through the frozen towers: tokens enter before a block and are replaced before the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adbench.clip import Clip, TextInput


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of one tower, `length` tokens in each of its first `depth` blocks.

    static         a table (length, width) per block; empty for none
    dynamic        (n, length, width), the same in each block; None for none. Both are added
    round_to_half  round the sum to fp16
    """

    static: Sequence[Tensor]
    dynamic: Tensor | None
    depth: int
    length: int
    round_to_half: bool

    def before(self, block: int, tokens: Tensor) -> Tensor:
        """What enters before this block, for each of the sequences `tokens` (n, T, width): (n, length, width)."""
        if self.static:
            prompt = self.static[block - 1].expand(len(tokens), -1, -1)
            prompt = prompt if self.dynamic is None else prompt + self.dynamic
        else:
            assert self.dynamic is not None
            prompt = self.dynamic
        return (prompt.half() if self.round_to_half else prompt).to(prompt.dtype).to(tokens.dtype)


def visual_pass(clip: Clip, images: Tensor, layers: Sequence[int], prompts: Prompts | None) -> tuple[Tensor, Tensor]:
    """Patch tokens of `layers`, (B, layers, 1 + N, V), and pooled feature (B, C); prompts stand behind the patches.

    They are appended before the first block, replaced before each up to `depth`, and removed from what comes out.
    """
    embedded = clip.embed_image(images)
    n_tokens = embedded.shape[1]

    def edit(block: int, tokens: Tensor) -> Tensor:
        if prompts is None or block > prompts.depth:
            return tokens
        return torch.cat([tokens[:, :n_tokens], prompts.before(block, tokens)], dim=1)

    streams = clip.image_blocks(embedded, edit=edit, collect=layers)
    patch_tokens = torch.stack([streams.blocks[layer][:, :n_tokens] for layer in layers], dim=1)
    return patch_tokens, clip.project(streams.tokens[:, 0])


def text_pass(clip: Clip, first: TextInput, prompts: Prompts) -> Tensor:
    """Features (n, C) of n sentences that have passed the first block.

    Prompts overwrite the tokens behind the start token, before each block from the second up to `depth`.
    """

    def edit(block: int, tokens: Tensor) -> Tensor:
        if block > prompts.depth:
            return tokens
        return torch.cat([tokens[:, :1], prompts.before(block, tokens), tokens[:, 1 + prompts.length :]], dim=1)

    return clip.text_blocks(first, edit=edit, start=2)
