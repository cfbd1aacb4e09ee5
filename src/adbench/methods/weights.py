"""Tensors into modules, checked, and out into the files that the authors' code loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adbench.atomic import replacing
from adbench.clip.loading import misfits
from adbench.errors import UserError


def load_strictly(module: nn.Module, state: Mapping[str, Any], *, where: str = "") -> None:
    """Load `state` into `module`; a missing, unexpected or misshapen tensor raises UserError and changes nothing."""
    check_fit(module.state_dict(), state, where=where)
    module.load_state_dict(state)


def check_fit(expected: Mapping[str, Tensor], state: Mapping[str, Any], *, where: str = "") -> None:
    """Raise UserError unless `state` has the names and shapes of `expected`."""
    faults = misfits(expected, state)
    if faults:
        more = f" and {len(faults) - 4} more" if len(faults) > 4 else ""
        raise UserError(
            f"the weights do not fit the method: {'; '.join(faults[:4])}{more}",
            where=where,
            hint="build the method with the settings and the backbone that the weights were trained with",
        )


def save_torch(path: str | Path, tensors: Mapping[str, Tensor], *, below: str = "") -> None:
    """Write tensors as authors' code loads them: one flat dict for `torch.load`, or as the entry `below` of one."""
    state = {key: value.detach().cpu() for key, value in tensors.items()}
    with replacing(Path(path)) as temporary:
        torch.save({below: state} if below else state, temporary)
