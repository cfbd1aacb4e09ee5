"""VV-CLIP, PromptAD's frozen image side: global and local features, and the patches that a class is remembered by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.methods.base import Features

# Blocks that are remembered, of twelve.
_MEMORY_BLOCKS = (2, 7)
# Support images that go through the image tower at once.
_CHUNK = 8


class VvClip:
    """The image tower with a V-V path beside its ordinary stream, in the last `vv_last_blocks` blocks.

    memory_blocks   image blocks (from 0) whose patches are remembered; None: 2 and 7 of the first twelve blocks, or as
                    deep in a tower of fewer
    taps_attention  the remembered stream is that behind the attention of the block that follows each, else the
                    block's output
    Raises ValueError for a block that the tower does not have.
    """

    def __init__(
        self, clip: Clip, *, vv_last_blocks: int, memory_blocks: Sequence[int] | None, taps_attention: bool
    ) -> None:
        self._clip, self._taps_attention = clip, taps_attention
        self.local_from = max(1, clip.n_layers - vv_last_blocks + 1)
        named = memory_blocks or [min(clip.n_layers, 12) * block // 12 for block in _MEMORY_BLOCKS]
        # Numbers of the wrapper's blocks, which count from 1.
        self.blocks = [block + (2 if taps_attention else 1) for block in named]
        if not all(1 <= block <= clip.n_layers for block in self.blocks):
            raise ValueError(f"memory_blocks is {list(named)} for {clip.n_layers} blocks (memory_tap may add 1)")

    @torch.no_grad()
    def raw(self, images: Tensor) -> dict[str, Tensor]:
        """Features of images as they are: global (B, E), local (B, P, E), memory1, ... (B, P, D), not normalised.

        The memory is of the ordinary stream, without ln_post and projection.
        """
        clip, other = self._clip, ()
        streams = clip.image_blocks(
            clip.embed_image(images),
            local_from=self.local_from,
            collect_post_attention=self.blocks if self._taps_attention else other,
            collect=other if self._taps_attention else self.blocks,
            class_token_only=True,
        )
        assert streams.local is not None
        collected = streams.post_attention if self._taps_attention else streams.blocks
        memory_bank = {f"memory{i}": collected[block][:, 1:] for i, block in enumerate(self.blocks, start=1)}
        return {
            "global": clip.project(streams.tokens[:, 0]),
            "local": clip.project(streams.local[:, 1:]),
            **memory_bank,
        }

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """`raw`, of unit length."""
        return {key: F.normalize(value, dim=-1) for key, value in self.raw(images).items()}

    def support_features(self, images: Tensor) -> dict[str, Tensor]:
        """`features` of support images, a few at a time."""
        parts = [self.features(chunk) for chunk in images.to(self._clip.device).split(_CHUNK)]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def galleries(self, features: Features) -> list[Tensor]:
        """The memory of each layer, (K * P, D); normalised once more, as the authors do."""
        return [F.normalize(features[f"memory{i}"].flatten(0, 1), dim=-1) for i in range(1, len(self.blocks) + 1)]
