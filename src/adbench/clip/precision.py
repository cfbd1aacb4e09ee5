"""The precision that a frozen CLIP is held in: the matrices of its towers' blocks, where nearly all of the work is.

Tokens between blocks, normalisation, embeddings and projections stay in float32, so that is what methods see, whatever
the blocks are held in. Of a ConvNeXt image tower stem and stages are held so; what they give is float32 again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn

from adbench.clip.dense import MULTIPLE
from adbench.clip.model import Clip
from adbench.errors import UserError

Precision = Literal["float32", "bfloat16", "float16"]


def hold(clip: Clip, precision: Precision) -> Clip:
    """Hold the blocks of `clip`, in place, in `precision`; it keeps the hash of the weights that it had before.

    Raises UserError where its device does not compute in that precision, and where the weights exceed it.
    """
    if precision == "float32":
        return clip
    _ = clip.weights_sha256  # of the weights as they were given, before they are rounded
    for part in _held(clip):
        part.to(getattr(torch, precision))
    try:
        result = clip.encode_text(clip.tokenize([""]))
        if clip.kind == "convnext":
            result = clip.dense(torch.zeros(1, 3, MULTIPLE, MULTIPLE, device=clip.device)).dense
    except RuntimeError as error:
        what = f"{clip.device.type} does not compute in {precision}: {str(error).splitlines()[0]:.100}"
        raise UserError(what, where="clip.dtype", hint="use clip.dtype=bfloat16 or float32") from error
    if not bool(result.isfinite().all()):
        what = f"the backbone {clip.name} exceeds the range of {precision}"
        raise UserError(what, where="clip.dtype", hint="use clip.dtype=bfloat16 or float32")
    return clip


def _held(clip: Clip) -> Iterator[nn.Module]:
    """The parts of the towers that hold their matrices."""
    blocks = list(clip.model.transformer.resblocks)
    if clip.kind == "convnext":
        yield from (clip.model.visual.trunk.stem, clip.model.visual.trunk.stages)
    else:
        blocks += clip.model.visual.transformer.resblocks
    for block in blocks:
        yield from (block.attn, block.mlp)
