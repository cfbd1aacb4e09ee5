"""AdaCLIP's prompted passes through the frozen towers: tokens enter before a block and are replaced before the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adbench.clip import Clip, TextInput


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompting:
    """How prompts enter: in the first `depth` blocks, `length` tokens each; round_to_half: rounded to fp16.

    A prompt is a static table (length, width) per block, a dynamic one (B, length, width) of the image, or their sum.
    """

    depth: int
    length: int
    round_to_half: bool

    def visual_pass(
        self,
        clip: Clip,
        images: Tensor,
        *,
        layers: Sequence[int],
        static: Sequence[Tensor],
        dynamic: Tensor | None,
        prompted: bool,
    ) -> tuple[Tensor, Tensor]:
        """Patch tokens of `layers`, (B, layers, 1 + N, V), and pooled feature (B, C); prompts stand behind the patches.

        They are appended before the first block, replaced before each up to `depth`, and removed from what comes out.
        """
        length = self.length if prompted else 0

        def edit(block: int, tokens: Tensor) -> Tensor:
            if block > self.depth:
                return tokens
            kept = tokens if block == 1 else tokens[:, :-length]
            return torch.cat([kept, self._prompt(static, block, dynamic, len(tokens)).to(tokens.dtype)], dim=1)

        streams = clip.image_blocks(clip.embed_image(images), edit=edit if prompted else None, collect=layers)
        n_tokens = streams.tokens.shape[1] - length
        patch_tokens = torch.stack([streams.blocks[layer][:, :n_tokens] for layer in layers], dim=1)
        return patch_tokens, clip.project(streams.tokens[:, 0])

    def text_pass(self, clip: Clip, first: TextInput, *, static: Sequence[Tensor], dynamic: Tensor | None) -> Tensor:
        """Features (n, C) of n sentences that have passed the first block; dynamic: (n, length, C).

        Prompts overwrite the tokens behind the start token, before each block from the second up to `depth`.
        """

        def edit(block: int, tokens: Tensor) -> Tensor:
            if block > self.depth:
                return tokens
            prompt = self._prompt(static, block, dynamic, len(tokens)).to(tokens.dtype)
            return torch.cat([tokens[:, :1], prompt, tokens[:, 1 + self.length :]], dim=1)

        return clip.text_blocks(first, edit=edit, start=2)

    def _prompt(self, static: Sequence[Tensor], block: int, dynamic: Tensor | None, rows: int) -> Tensor:
        """The finished prompt of a block for `rows` sequences."""
        if not static:
            assert dynamic is not None
            return self._round(dynamic)
        table = static[block - 1].expand(rows, -1, -1)
        return self._round(table if dynamic is None else table + dynamic)

    def _round(self, prompt: Tensor) -> Tensor:
        return prompt.half().to(prompt.dtype) if self.round_to_half else prompt
