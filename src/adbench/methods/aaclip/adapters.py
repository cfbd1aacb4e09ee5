"""AA-CLIP's learned layers, under the names of the authors' checkpoints. There are no biases."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01


class Layer(nn.Module):
    """A linear layer without bias; with `activated`, LeakyReLU after it, which changes its name in checkpoints."""

    def __init__(self, n_in: int, n_out: int, *, activated: bool) -> None:
        super().__init__()
        linear = nn.Linear(n_in, n_out, bias=False)
        nn.init.xavier_uniform_(linear.weight)
        self.fc: nn.Module = nn.Sequential(linear, nn.LeakyReLU(SLOPE)) if activated else linear

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        result: Tensor = self.fc(x)
        return result


def adapted(x: Tensor, layer: nn.Module, weight: float) -> Tensor:
    """The block's output x (B, T, width) blended with its adapter's, each token of which has the norm of x."""
    change: Tensor = layer(x)
    scale: Tensor = x.norm(dim=-1, keepdim=True) / change.norm(dim=-1, keepdim=True)
    result: Tensor = weight * change * scale + (1 - weight) * x
    return result


class ImageAdapter(nn.Module):
    """Residual adapters of the first blocks, a projection for each level's map and one for the image vector."""

    def __init__(self, n_blocks: int, n_levels: int, width: int, embed_dim: int, *, relu: bool) -> None:
        super().__init__()
        self.layer_adapters = nn.ModuleList(Layer(width, width, activated=True) for _ in range(n_blocks))
        self.seg_proj = nn.ModuleList(Layer(width, embed_dim, activated=relu) for _ in range(n_levels))
        self.det_proj = Layer(width, embed_dim, activated=relu)


def text_adapter(n_blocks: int, width: int, embed_dim: int) -> nn.ModuleList:
    """Residual adapters of the first blocks, and last the layer in the place of CLIP's text projection."""
    layers = [Layer(width, width, activated=True) for _ in range(n_blocks)]
    return nn.ModuleList([*layers, Layer(width, embed_dim, activated=True)])


def unit(x: Tensor) -> Tensor:
    """Divided by its norm, which is not clamped."""
    norm: Tensor = x.norm(dim=-1, keepdim=True)
    return x / norm


def unit_clamped(x: Tensor) -> Tensor:
    """Divided by its norm, of at least 1e-12."""
    return F.normalize(x, dim=-1)
