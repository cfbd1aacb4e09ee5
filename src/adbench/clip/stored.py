"""The weights of a CLIP in a file, under open_clip's names, whoever has written it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from adbench.errors import UserError
from adbench.weight_files import WeightFile, open_weights

_TAKE = (
    "take the file of the same weights that is made for open_clip: open_clip_model.safetensors or "
    "open_clip_pytorch_model.bin"
)
# Names of Hugging Face transformers' CLIP (after query, key and value were joined) and open_clip's.
_TOWERS = (
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_projection\.weight$", "text_projection"),
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^vision_model\.pre_layr?norm\.", "visual.ln_pre."),  # their spelling
    (r"^vision_model\.pre_layernorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^visual_projection\.weight$", "visual.proj"),
    (r"\.self_attn\.", ".attn."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
_TRANSPOSED = ("text_projection.weight", "visual_projection.weight")
_LAYER_NORM_EPS = 1e-5  # open_clip's


@dataclass(frozen=True, slots=True)
class StoredClip:
    """State dict under open_clip's names. quick_gelu: the activation it was trained with, None where unknown."""

    state: dict[str, Tensor]
    quick_gelu: bool | None


def read_clip(file: Path, *, activation_asked: bool = True) -> StoredClip:
    """Read the CLIP in `file`: OpenAI's, open_clip's, transformers', or one inside a larger model.

    activation_asked  whether the activation will be chosen anyway: a file of transformers must say it otherwise.
    Raises UserError for files without weights, of other models of transformers, or with several CLIPs.
    """
    opened = open_weights(file)
    state = opened.needed_state()
    inside = _below(state, "token_embedding.weight", "visual.", file)
    if inside is not None:
        return StoredClip(inside, True if opened.kind == "torchscript" else None)
    inside = _below(state, "text_model.embeddings.token_embedding.weight", "vision_model.", file)
    if inside is not None and {"visual_projection.weight", "text_projection.weight"} <= inside.keys():
        return StoredClip(from_transformers(inside), _activation_of(opened, asked=activation_asked))
    other = _other_model(state, _config(file))
    if other:
        raise UserError(
            f"the file holds {other}, in the format of Hugging Face transformers", where=str(file), hint=_TAKE
        )
    return StoredClip(state, None)


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of transformers' CLIPModel under open_clip's names: query, key and value joined in this order."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.endswith("position_ids"):  # 0, 1, 2, ...: what older versions stored
            continue
        if re.search(r"\.[kv]_proj\.", key):
            continue
        if ".q_proj." in key:
            parts = [state.get(key.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
            value = torch.cat([part for part in parts if part is not None])
            key = key.replace(".q_proj.", ".in_proj_")
        renamed[_renamed(key)] = value.T if key in _TRANSPOSED else value
    return renamed


def _renamed(key: str) -> str:
    for pattern, replacement in _TOWERS:
        key = re.sub(pattern, replacement, key)
    return key


def _below(state: Mapping[str, Tensor], anchor: str, beside: str, file: Path) -> dict[str, Tensor] | None:
    """The part of `state` that is a CLIP, by where its tensor `anchor` lies; None without one."""
    fronts = [key.removesuffix(anchor) for key in state if key == anchor or key.endswith(f".{anchor}")]
    fronts = [front for front in fronts if any(key.startswith(front + beside) for key in state)]
    if len(fronts) > 1:
        raise UserError(
            f"the file holds {len(fronts)} CLIPs: below {', '.join(repr(front) for front in fronts[:4])}",
            where=str(file),
            hint="save the one that is meant into a file of its own",
        )
    if not fronts:
        return None
    return {key.removeprefix(fronts[0]): value for key, value in state.items() if key.startswith(fronts[0])}


def _activation_of(opened: WeightFile, *, asked: bool) -> bool | None:
    """Whether transformers' config.json beside the file says QuickGELU. Raises UserError where that stays unknown."""
    config = _config(opened.path)
    if config is None:
        if asked:
            return None
        raise UserError(
            "a CLIP of Hugging Face transformers, without the config.json that says its activation",
            where=str(opened.path),
            hint="put its config.json beside it, or set clip.quick_gelu=true (openai/clip-*) or false (laion/CLIP-*)",
        )
    towers = [part for name in ("text_config", "vision_config") if isinstance(part := config.get(name), dict)]
    said = {"quick_gelu"} if len(towers) < 2 else set()
    said |= {str(tower.get("hidden_act", "quick_gelu")) for tower in towers}  # left out where it is their default
    eps = {str(tower.get("layer_norm_eps", _LAYER_NORM_EPS)) for tower in towers}
    if eps != {str(_LAYER_NORM_EPS)} or len(said) > 1 or not said <= {"quick_gelu", "gelu"}:
        raise UserError(
            f"open_clip builds no CLIP with hidden_act {', '.join(sorted(said))} and layer_norm_eps "
            f"{', '.join(sorted(eps))}",
            where=str(opened.path.with_name("config.json")),
            hint=_TAKE,
        )
    return said == {"quick_gelu"}


def _config(file: Path) -> dict[str, object] | None:
    """What transformers' config.json beside the file says; None without one."""
    note = file.with_name("config.json")
    if not note.is_file():
        return None
    try:
        config = json.loads(note.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError("this is no JSON", where=str(note), hint="get the file again, or remove it") from error
    if not isinstance(config, dict):
        raise UserError("this is no configuration of a model", where=str(note), hint="get the file again, or remove it")
    return config


def _other_model(state: Mapping[str, Tensor], config: Mapping[str, object] | None) -> str:
    """The model of transformers that the names belong to; empty if they are not transformers'."""
    if not any(
        re.search(r"(^|\.)(encoder|decoder|text_model|vision_model|model)\.layers?\.\d+\.", key) for key in state
    ):
        return ""
    if config is not None and config.get("model_type") not in (None, "clip"):
        return f"a model of type {config['model_type']}"
    if any("vision_model.head." in key for key in state):
        return "a SigLIP model"
    towers = {tower for tower in ("text_model", "vision_model") if any(f"{tower}." in key for key in state)}
    if len(towers) == 1:
        return f"only one tower of a CLIP ({towers.pop()})"
    return "another model than CLIP"
