"""Fixtures shared by all tests: a tiny CLIP with random weights, and a tokenizer-true text tower."""

from __future__ import annotations

import pytest
import torch

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 48, "layers": 4, "head_width": 16, "mlp_ratio": 2.0},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}


def make_tiny_clip(*, image_size: int | None = None, seed: int = 0, quick_gelu: bool = False):
    """A classic CLIP of a few thousand weights, reproducible from its seed."""
    import open_clip

    from adbench.clip import Clip

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**TINY, quick_gelu=quick_gelu)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.2)
    return Clip(model, name="tiny", source="random", quick_gelu=quick_gelu, image_size=image_size)


@pytest.fixture
def tiny_clip():
    return make_tiny_clip()
