"""The image tower's blocks compiled by torch.compile, and held against the plain ones before anything is computed."""

from __future__ import annotations

import torch

from adbench.clip.model import Clip
from adbench.clip.towers import run_block
from adbench.errors import UserError

TOLERANCE = 1e-4
"""Largest difference of tokens that is taken, as a share of the largest value; of blocks held in less, its rounding."""


def compile_tower(clip: Clip) -> Clip:
    """Compile the blocks of a ViT image tower, in place, for passes that need no gradient.

    Raises UserError for another tower, where nothing compiles here, and where tokens of a random image come out others.
    """
    if clip.kind != "vit":
        raise UserError(f"the tower of {clip.name} is no ViT", where="clip.compile", hint="use clip.compile=false")
    images = torch.randn(1, 3, clip.image_size, clip.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = clip.embed_image(images.to(clip.device))
        plain = clip.image_blocks(tokens).tokens
        compiled = torch.compile(run_block)
        for block in clip.model.visual.transformer.resblocks:
            block.__dict__["compiled"] = compiled
        try:
            result = clip.image_blocks(tokens).tokens
        except (RuntimeError, OSError) as error:  # of the compiler, also where there is none
            what = f"the tower does not compile on {clip.device.type}: {(str(error).splitlines() or [''])[0]:.100}"
            raise UserError(what, where="clip.compile", hint="install a C++ compiler, or clip.compile=false") from error
    difference = float((result - plain).abs().max() / plain.abs().max())
    allowed = TOLERANCE if clip.blocks_dtype == clip.dtype else torch.finfo(clip.blocks_dtype).eps
    if not difference <= allowed:
        what = f"the compiled tower differs by {difference:.1g} of the largest value, more than {allowed:.1g}"
        raise UserError(what, where="clip.compile", hint="use clip.compile=false")
    clip.is_compiled = True
    return clip
