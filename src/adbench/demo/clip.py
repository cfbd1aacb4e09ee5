"""The toy CLIP that ships with adbench: its weights and its architecture come from one file."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open

from adbench.clip.loading import clip_from_state
from adbench.clip.model import Clip
from adbench.errors import UserError

FILE = Path(__file__).with_name("demo_clip.safetensors")


def load(*, checkpoint: str | Path | None, quick_gelu: bool | None, image_size: int | None) -> Clip:
    """Load the demo CLIP, or the one that `scripts/train_demo_clip.py` wrote to `checkpoint`.

    quick_gelu  activation to build; None: the one that it was trained with
    image_size  input side for the methods in pixels; None: the weights' own
    """
    file = FILE if checkpoint is None else Path(checkpoint)
    if not file.is_file():
        raise UserError("weights file of the demo CLIP not found", where=str(file), mend="give clip.checkpoint=FILE")
    with safe_open(file, framework="pt") as stored:
        config = json.loads((stored.metadata() or {}).get("model_cfg", "null"))
        state = {key: stored.get_tensor(key).float() for key in stored.keys() if key != "token_embedding.ids"}  # noqa: SIM118
        ids = stored.get_tensor("token_embedding.ids").long() if config else None
    if config is None or ids is None:
        raise UserError("this is no demo CLIP: it lacks its model configuration", where=str(file))
    # Only the rows of the vocabulary that the demo's captions use are stored; all others are zero.
    table = torch.zeros(config["text_cfg"]["vocab_size"], config["text_cfg"]["width"])
    table[ids] = state.pop("token_embedding.rows")
    state["token_embedding.weight"] = table
    trained_with = bool(config.get("quick_gelu", False))
    return clip_from_state(
        config,
        state,
        name="demo",
        source=file.name,
        quick_gelu=trained_with if quick_gelu is None else quick_gelu,
        image_size=image_size,
    )
