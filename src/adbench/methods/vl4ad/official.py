"""The names of VL4AD's weights in FC-CLIP's checkpoints, in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from adbench.methods.weights import check_fit
from adbench.weight_files import read_state

# What an FC-CLIP checkpoint holds beside the decoder: its frozen CLIP and the buffers of its loss.
_NOT_LEARNED = ("backbone.", "criterion.")

_PIXEL_DECODER = (
    (r"^input_projections\.", "input_proj."),
    (r"^level_embed$", "transformer.level_embed"),
    (r"^encoder\.", "transformer.encoder."),
    (r"\.self_attn_layer_norm\.", ".norm1."),
    (r"\.final_layer_norm\.", ".norm2."),
    (r"\.fc([12])\.", r".linear\1."),
    (r"^mask_projection\.", "mask_features."),
    (r"^(adapter|layer)_1\.0\.", r"\1_1."),
    (r"^(adapter|layer)_1\.1\.", r"\1_1.norm."),
)
_TRANSFORMER = (
    (r"^decoder\.layers\.(\d+)\.self_attn\.[qkv]_proj\.", r"transformer_self_attention_layers.\1.self_attn.in_proj_"),
    (r"^decoder\.layers\.(\d+)\.self_attn\.", r"transformer_self_attention_layers.\1.self_attn."),
    (r"^decoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"transformer_self_attention_layers.\1.norm."),
    (r"^decoder\.layers\.(\d+)\.cross_attn\.", r"transformer_cross_attention_layers.\1.multihead_attn."),
    (r"^decoder\.layers\.(\d+)\.cross_attn_layer_norm\.", r"transformer_cross_attention_layers.\1.norm."),
    (r"^decoder\.layers\.(\d+)\.fc([12])\.", r"transformer_ffn_layers.\1.linear\2."),
    (r"^decoder\.layers\.(\d+)\.final_layer_norm\.", r"transformer_ffn_layers.\1.norm."),
    (r"^decoder\.layernorm\.", "decoder_norm."),
    (r"^decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.", r"mask_embed.layers.\1."),
    (r"^queries_features\.", "query_feat."),
    (r"^queries_embedder\.", "query_embed."),
)
_HEAD = ((r"^pooling_proj\.", "_mask_pooling_proj."), (r"^class_embed\.", "class_embed.layers."))
# Our module, its name there, and the rules below it.
_PARTS = (
    ("decoder.pixel_decoder.", "sem_seg_head.pixel_decoder.", _PIXEL_DECODER),
    ("decoder.transformer.", "sem_seg_head.predictor.", _TRANSFORMER),
    ("head.void_embedding.", "void_embedding.", ()),
    ("head.", "sem_seg_head.predictor.", _HEAD),
)


def official_names(ours: Iterable[str]) -> dict[str, list[str]]:
    """Official name -> our names of the tensors that are stacked in it: one, or query, key and value.

    The pyramid of ViT towers, which FC-CLIP does not have, keeps its own names; the loss's buffers are left out.
    """
    names: dict[str, list[str]] = {}
    for key in ours:
        if not key.startswith("criterion."):
            names.setdefault(_official(key), []).append(key)
    # The order in which they are stacked.
    return {name: sorted(keys, key=_packing_order) for name, keys in names.items()}


def to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors (weights or gradients) under official names."""
    return {
        name: state[keys[0]] if len(keys) == 1 else torch.cat([state[key] for key in keys])
        for name, keys in official_names(state).items()
    }


def from_official(given: Mapping[str, Tensor], ours: Iterable[str]) -> dict[str, Tensor]:
    """Tensors under official names as ours; `given` has exactly the names of `official_names(ours)`."""
    state: dict[str, Tensor] = {}
    for name, keys in official_names(ours).items():
        state |= dict(zip(keys, given[name].chunk(len(keys)) if len(keys) > 1 else (given[name],), strict=True))
    return state


def load_official_names(module: nn.Module, state: Mapping[str, Tensor], *, where: str = "") -> None:
    """Load tensors under official names; a missing, unexpected or misshapen one raises UserError, changing nothing."""
    ours = module.state_dict()
    check_fit(to_official(ours), state, where=where)
    module.load_state_dict(ours | from_official(state, ours))


def read_official(path: str | Path) -> dict[str, Tensor]:
    """The learned tensors of an FC-CLIP checkpoint."""
    return {key: value for key, value in read_state(Path(path)).items() if not key.startswith(_NOT_LEARNED)}


def _official(key: str) -> str:
    for ours, official, rules in _PARTS:
        if key.startswith(ours):
            rest = key.removeprefix(ours)
            for pattern, replacement in rules:
                rest = re.sub(pattern, replacement, rest)
            return official + rest
    return key


def _packing_order(key: str) -> int:
    return next((index for index, part in enumerate(("q_proj", "k_proj", "v_proj")) if part in key), 0)
