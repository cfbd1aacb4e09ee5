"""A tiny CLIP with a ConvNeXt image tower and random weights: for tests of VL4AD's wiring, offline."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from adbench.clip.dense import register_convnext
from adbench.clip.lean_import import import_open_clip
from adbench.clip.model import Clip
from adbench.errors import UserError

_DEPTHS, _DIMS, _SEED = (1, 1, 1, 1), (32, 64, 96, 128), 0


def load(*, checkpoint: str | Path | None, quick_gelu: bool | None, image_size: int | None) -> Clip:
    """The toy, the same every time; activation and image size are its own, whatever is asked for."""
    if checkpoint is not None:
        raise UserError("the weights of toy_convnext are drawn at random", where=f"clip.checkpoint={checkpoint}")
    tower = {"timm_model_name": register_convnext(_DEPTHS, _DIMS), "timm_pool": "", "timm_proj": "mlp"}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    with torch.random.fork_rng(devices=[]):  # building draws weights too, which are replaced
        model = import_open_clip().CLIP(embed_dim=64, vision_cfg={**tower, "image_size": 96}, text_cfg=text)
    randomise(model, _SEED)
    return Clip(model, name="toy_convnext", source="random", quick_gelu=False)


def randomise(model: nn.Module, seed: int) -> None:
    """Draw all weights of a model anew from `seed`, in the order of their names, scaled to keep the signals' size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if name.endswith("logit_scale"):
                continue
            if parameter.dim() < 2:
                is_scale = name.endswith(("weight", "gamma"))
                parameter.fill_(1.0 if is_scale else 0.0)
            else:
                fan_in = parameter[0].numel() if parameter.dim() > 2 else parameter.shape[-1]
                parameter.normal_(std=fan_in**-0.5, generator=generator)
