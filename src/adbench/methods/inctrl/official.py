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
    towers: Mapping[str, Tensor] = clip.model.state_dict()
    return {**{key: value for key, value in towers.items() if key not in _NOT_THEIRS}, **learned}


def _equal(ours: Tensor, theirs: Tensor) -> bool:
    """Equal up to the rounding of weights that were once stored in half precision."""
    return torch.allclose(ours.float().cpu(), theirs.float().cpu(), rtol=2e-3, atol=1e-5)
