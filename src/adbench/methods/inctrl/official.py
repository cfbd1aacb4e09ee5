"""The authors' checkpoints: one flat dict of what is learned *and* both frozen towers, possibly below "model_state"."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adbench.clip import Clip
from adbench.errors import UserError

LEARNED = ("adapter.", "diff_head.", "diff_head_ref.")
# In open_clip's state dict, but not in the authors' network.
_NOT_THEIRS = ("logit_scale", "logit_bias", "attn_mask")


def split_checkpoint(state: Mapping[str, Tensor], clip: Clip, *, where: str) -> dict[str, Tensor]:
    """What is learned of a checkpoint. The frozen towers in it must be those of `clip`, if it has any.

    Raises UserError for tensors that are neither, and for towers that differ: the scores would be others.
    """
    learned = {key: value for key, value in state.items() if key.startswith(LEARNED)}
    towers: Mapping[str, Tensor] = clip.model.state_dict()
    rest = {key: value for key, value in state.items() if key not in learned and key not in _NOT_THEIRS}
    faults = []
    for key, value in rest.items():
        if key not in towers:
            faults.append(f"unexpected {key}")
        elif value.shape != towers[key].shape:
            faults.append(f"{key} is {tuple(value.shape)} instead of {tuple(towers[key].shape)}")
        elif not _equal(value, towers[key]):
            faults.append(f"{key} has other values")
    if faults:
        raise UserError(
            f"the frozen towers in the checkpoint are not those of the backbone {clip.name} ({clip.source}): "
            f"{len(faults)} of {len(rest)} tensors differ, first: {faults[0]}",
            where=where,
            hint="load the backbone that it was trained on (the authors': clip=ViT-B-16-plus-240, laion400m_e32)",
        )
    return learned


def with_towers(learned: Mapping[str, Tensor], clip: Clip) -> dict[str, Tensor]:
    """The flat dict that the authors' test script loads: towers and what is learned."""
    if clip.blocks_dtype != clip.dtype:
        what = f"the backbone is held in {str(clip.blocks_dtype)[6:]}: the authors' file would hold rounded towers"
        raise UserError(what, where="clip.dtype", hint="use clip.dtype=float32")
    towers: Mapping[str, Tensor] = clip.model.state_dict()
    return {**{key: value for key, value in towers.items() if key not in _NOT_THEIRS}, **learned}


def _equal(stored: Tensor, tower: Tensor) -> bool:
    """Equal up to the rounding of weights that were once stored in half precision, or are held in less than float32."""
    rounding = max(2e-3, torch.finfo(tower.dtype).eps) if tower.is_floating_point() else 0.0
    return torch.allclose(stored.to(tower.dtype).float().cpu(), tower.float().cpu(), rtol=rounding, atol=1e-5)
