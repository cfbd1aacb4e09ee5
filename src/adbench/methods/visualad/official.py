"""The authors' checkpoints: two tokens, ln_post, dictionaries of layers, and plain values beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench.atomic import replacing
from adbench.errors import UserError
from adbench.weight_files import open_weights

_TRANSFORMS, _ATTENTIONS = "layer_transforms.", "cross_attn."
_LAYERS_HINT = "build the method with method.features_list and backbone.image_size as the checkpoint was trained with"


def read_checkpoint(path: str | Path, layers: tuple[int, ...], image_size: int) -> dict[str, Tensor]:
    """The state of a checkpoint, flattened with dots.

    Raises UserError where the file says that it is for other blocks or another image size.
    """
    opened = open_weights(path)
    state = opened.nested_state()
    if "anomaly_token" not in state:
        raise UserError(
            f"no entry 'anomaly_token' in the checkpoint, but {opened.described()}",
            where=str(path),
            hint="give the authors' epoch_N.pth, final_model.pth or CLIP.pth",
        )
    told = opened.plain_values()
    for name, ours in (("features_list", list(layers)), ("image_size", image_size)):
        if told.get(name, ours) != ours:
            raise UserError(
                f"the checkpoint has {name} {told[name]}, the method {ours}", where=str(path), hint=_LAYERS_HINT
            )
    return state


def write_checkpoint(path: str | Path, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write learned tensors (flat names) and plain values as the authors' code keeps them."""
    with replacing(Path(path)) as temporary:
        torch.save({**nested(state), **facts}, temporary)


def nested(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Flat names as the authors' dictionaries: "layer_transforms" by layer, "cross_attn" as one state dict."""
    content: dict[str, Any] = {}
    for name, tensor in state.items():
        value = tensor.detach().cpu()
        if name.startswith(_TRANSFORMS):
            layer, _, rest = name.removeprefix(_TRANSFORMS).partition(".")
            content.setdefault("layer_transforms", {}).setdefault(layer, {})[rest] = value
        elif name.startswith(_ATTENTIONS):
            content.setdefault("cross_attn", {})[name.removeprefix(_ATTENTIONS)] = value
        else:
            content[name] = value
    return content
