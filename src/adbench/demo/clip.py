"""The toy CLIP that ships with adbench: its weights and its architecture come from one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from adbench.clip.loading import clip_from_state
from adbench.clip.model import Clip
from adbench.errors import UserError
from adbench.weight_files import open_weights

FILE = Path(__file__).with_name("demo_clip.safetensors")
_LARGEST = 1 << 17  # size that a demo CLIP may declare


def load(*, checkpoint: str | Path | None, quick_gelu: bool | None, image_size: int | None) -> Clip:
    """Load the demo CLIP, or the one that `scripts/train_demo_clip.py` wrote to `checkpoint`.

    quick_gelu  activation to build; None: the one that it was trained with
    image_size  input side for the methods in pixels; None: the weights' own
    """
    file = FILE if checkpoint is None else Path(checkpoint)
    opened = open_weights(file)
    config, state = _config(opened.metadata.get("model_cfg", "")), opened.state() or {}
    ids, rows = (state.pop(f"token_embedding.{part}", None) for part in ("ids", "rows"))
    if config is None or ids is None or rows is None:
        raise UserError(
            "this is no demo CLIP: it lacks its model configuration or its words",
            where=str(file),
            hint="name the model that the file is of (clip=...)",
        )
    vocabulary, width = config["text_cfg"]["vocab_size"], config["text_cfg"]["width"]
    if rows.shape != (len(ids), width) or ids.dim() != 1 or not bool(((ids >= 0) & (ids < vocabulary)).all()):
        raise UserError("the demo CLIP's words do not fit its configuration", where=str(file), hint="get it again")
    # Only the rows of the vocabulary that the demo's captions use are stored; all others are zero.
    table = torch.zeros(vocabulary, width)
    table[ids.long()] = rows.float()
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


def _config(text: str) -> dict[str, Any] | None:
    """The configuration that a demo CLIP carries; None where it is none."""
    try:
        config = json.loads(text)
        sizes = [config["text_cfg"]["vocab_size"], config["text_cfg"]["width"], config["vision_cfg"]["width"]]
    except (ValueError, TypeError, KeyError):
        return None
    return config if all(type(size) is int and 0 < size <= _LARGEST for size in sizes) else None
