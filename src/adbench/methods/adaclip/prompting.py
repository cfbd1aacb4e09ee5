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
        """What enters before this block, of the type of `tokens`: (n, length, width), n = 1 where all share it."""
        if self.static:
            prompt = self.static[block - 1].unsqueeze(0)
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
        return torch.cat([tokens[:, :n_tokens], prompts.before(block, tokens).expand(tokens.shape[0], -1, -1)], dim=1)

    streams = clip.image_blocks(embedded, edit=edit, collect=layers)
    patch_tokens = torch.stack([streams.blocks[layer][:, :n_tokens] for layer in layers], dim=1)
    return patch_tokens, clip.project(streams.tokens[:, 0])


def text_pass(clip: Clip, first: TextInput, prompts: Prompts) -> Tensor:
    """Features (n, C) of n sentences that have passed the first block, as many for each of the dynamic prompts.

    Prompts overwrite the tokens behind the start token, before each block from the second up to `depth`. Nothing that
    stands before the first word depends on the words, so it is run once for all sentences of an image.
    """
    n_begun = 1 + prompts.length
    if prompts.depth < 2:
        return clip.text_blocks(first, start=2)
    # A sentence that ends among the prompts; and a graph, to which no length of a sentence is known.
    if torch.compiler.is_exporting() or int(first.end.min()) < n_begun:

        def edit(block: int, tokens: Tensor) -> Tensor:
            if block > prompts.depth:
                return tokens
            fresh = prompts.before(block, tokens)
            fresh = fresh.repeat_interleave(tokens.shape[0] // fresh.shape[0], dim=0)
            return torch.cat([tokens[:, :1], fresh, tokens[:, n_begun:]], dim=1)

        return clip.text_blocks(first, edit=edit, start=2)
    begun = clip.begin_text(first.tokens[:1, :1], start=2)  # the start token, the same in all sentences
    overwrite = {block: prompts.before(block, first.tokens) for block in range(2, prompts.depth + 1)}
    begun = clip.begin_text(overwrite[2], overwrite=overwrite, start=2, earlier=begun)
    n_copies = 1 if prompts.dynamic is None else len(prompts.dynamic)
    rest = first.tokens[:, n_begun:].unflatten(0, (n_copies, -1))  # (copies, sentences, T, C)
    ends = (first.end - n_begun).unflatten(0, (n_copies, -1))
    groups = by_length(ends.amax(dim=0))
    features = [
        clip.text_blocks(
            TextInput(rest[:, group, : int(ends[:, group].max()) + 1].flatten(0, 1), ends[:, group].flatten()),
            start=2,
            earlier=begun,
        ).unflatten(0, (n_copies, -1))
        for group in groups
    ]
    order = torch.cat(groups).argsort()
    return torch.cat(features, dim=1)[:, order].flatten(0, 1)


def by_length(ends: Tensor) -> list[Tensor]:
    """Indices of short and of long sentences, which end at `ends` (n,): cut so that the fewest tokens are run."""
    ends = ends.cpu()
    order = ends.argsort(stable=True)
    lengths = ends[order] + 1
    cuts = torch.arange(1, len(ends) + 1)
    cost = cuts * lengths + (len(ends) - cuts) * lengths[-1]
    cut = int(cost.argmin()) + 1
    return [group for group in (order[:cut], order[cut:]) if len(group)]
