"""Simple feature pyramid (Li et al., ECCV 2022): strides 4, 8, 16, 32 from the one map of a ViT tower. Learned."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from adbench.methods.vl4ad.mask2former import STRIDES


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel."""
        normed: Tensor = super().forward(x.movedim(1, -1)).movedim(-1, 1)
        return normed


class SimplePyramid(nn.Module):
    """Transposed convolutions (2x2, stride 2) below the map's own stride, max pooling (2x2) above it.

    Each upsampling halves the channels; between two of them stand LayerNorm and GELU. `channels`: of the result.
    """

    def __init__(self, stride: int, width: int) -> None:
        super().__init__()
        self.stride = stride
        self.ups = nn.ModuleDict()
        channels = []
        for wanted in STRIDES:
            times = int(math.log2(stride / wanted)) if wanted < stride else 0
            channels.append(width >> times)
            if times:
                self.ups[str(wanted)] = _upsampling(width, times)
        self.channels = (channels[0], channels[1], channels[2], channels[3])

    def forward(self, x: Tensor) -> Mapping[int, Tensor]:
        """(B, D, h, w) at the map's own stride -> stride -> map."""
        maps: dict[int, Tensor] = {}
        for wanted in STRIDES:
            if str(wanted) in self.ups:
                maps[wanted] = self.ups[str(wanted)](x)
            else:
                factor = wanted // self.stride
                maps[wanted] = x if factor == 1 else nn.functional.max_pool2d(x, factor)
        return maps


def _upsampling(width: int, times: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(times):
        n_in = width >> number
        layers += [ChannelNorm(n_in), nn.GELU()] if number else []
        layers.append(nn.ConvTranspose2d(n_in, n_in // 2, kernel_size=2, stride=2))
    return nn.Sequential(*layers)
