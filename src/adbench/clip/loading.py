"""Where CLIP weights come from: open_clip's pretrained tags, local files, a preset's own module, or chance."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench.clip.compiled import compile_tower
from adbench.clip.download import obtain
from adbench.clip.lean_import import import_open_clip
from adbench.clip.model import OPENAI_MEAN, OPENAI_STD, Clip
from adbench.clip.precision import Precision, hold
from adbench.clip.presets import PRESETS
from adbench.clip.stored import read_clip
from adbench.errors import UserError, unknown

RANDOM = "random"
"""`pretrained` of a backbone whose weights are drawn: of the right size, without a download. For measuring time."""
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")


def load_clip(
    name: str,
    *,
    pretrained: str | None = None,
    checkpoint: str | Path | None = None,
    quick_gelu: bool | None = None,
    image_size: int | None = None,
    dtype: Precision = "float32",
    compile: bool = False,
    device: torch.device | str = "cpu",
) -> Clip:
    """Load a frozen CLIP, all of which methods see as float32.

    name        "demo", "toy_convnext" (tiny, random weights), or an open_clip model name such as "ViT-L-14-336" or
                "convnext_large_d_320"
    pretrained  an open_clip tag, downloaded by open_clip on first use; default: the preset's. "random": drawn from
                torch's global stream, for measuring time, without a download
    checkpoint  a local file instead: OpenAI's TorchScript .pt (no code of it is run), a file of open_clip or of Hugging
                Face transformers' CLIP (.pt, .bin, .safetensors), or a larger model's that holds one CLIP, as FC-CLIP's
    quick_gelu  activation to build. None follows the model's configuration and raises UserError where the weights are
                known to be trained with the other one; True or False is taken as meant
    image_size  input side for the methods; default: the weights' own
    dtype       what the towers' blocks are held and computed in: "float32", "bfloat16", "float16" (`clip.precision`)
    compile     whether a ViT's image tower is compiled, and checked against the plain one (`clip.compiled`)
    """
    if name in PRESETS and PRESETS[name].module:
        load = importlib.import_module(PRESETS[name].module).load
        clip: Clip = load(checkpoint=checkpoint, quick_gelu=quick_gelu, image_size=image_size)
    else:
        clip = _from_open_clip(name, pretrained, checkpoint, quick_gelu, image_size)
    clip = hold(clip.to(device), dtype)
    return compile_tower(clip) if compile else clip


def _from_open_clip(
    name: str,
    pretrained: str | None,
    checkpoint: str | Path | None,
    quick_gelu: bool | None,
    image_size: int | None,
) -> Clip:
    open_clip = import_open_clip()

    config = open_clip.get_model_config(name)
    if config is None:
        raise unknown("backbone", name, sorted({*open_clip.list_models(), *PRESETS}), where="clip")
    if checkpoint is None and pretrained == RANDOM:
        asked = bool(config.get("quick_gelu", False)) if quick_gelu is None else quick_gelu
        return clip_from_state(config, None, name=name, source=RANDOM, quick_gelu=asked, image_size=image_size)
    mean, std = OPENAI_MEAN, OPENAI_STD
    if checkpoint is not None:
        file, source = Path(checkpoint), Path(checkpoint).name
        stored = read_clip(file, activation_asked=quick_gelu is not None)
    else:
        tag = pretrained or (PRESETS[name].pretrained if name in PRESETS else "")
        tag_config = open_clip.get_pretrained_cfg(name, tag)
        if not tag_config:
            tags = open_clip.list_pretrained_tags_by_model(name)
            raise unknown(f"pretrained tag of {name}", tag or "(none)", tags, where="clip.pretrained")
        mean, std = _three(tag_config.get("mean"), mean), _three(tag_config.get("std"), std)
        source, file = tag, obtain(tag_config, name, tag)
        stored = replace(read_clip(file), quick_gelu=bool(tag_config.get("quick_gelu", False)))
    built_with = _activation(quick_gelu, bool(config.get("quick_gelu", False)), stored.quick_gelu, name, source)
    weights: dict[str, Any] = {"name": name, "source": source, "quick_gelu": built_with, "mean": mean, "std": std}
    return clip_from_state(config, stored.state, **weights, image_size=image_size)


def clip_from_state(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor] | None,
    *,
    name: str,
    source: str,
    quick_gelu: bool,
    image_size: int | None = None,
    mean: tuple[float, float, float] = OPENAI_MEAN,
    std: tuple[float, float, float] = OPENAI_STD,
) -> Clip:
    """Build an open_clip CLIP from its configuration and load `state` strictly; None: weights stay as drawn."""
    open_clip = import_open_clip()

    settings: dict[str, Any] = copy.deepcopy(dict(config))
    vision = settings.get("vision_cfg", {})
    known_kind = "convnext" in vision.get("timm_model_name", "convnext") and isinstance(vision.get("layers", 12), int)
    if settings.pop("custom_text", False) or not known_kind:
        raise UserError(f"backbone {name!r} is not a CLIP with a classic ViT or a ConvNeXt image tower", where="clip")
    settings["quick_gelu"] = quick_gelu
    model = open_clip.CLIP(**settings).float()
    if state is not None:
        _load(model, state, name, source)
    return Clip(model, name=name, source=source, quick_gelu=quick_gelu, image_size=image_size, mean=mean, std=std)


def _load(model: Any, state: Mapping[str, Tensor], name: str, source: str) -> None:
    expected = model.state_dict()
    given = {key: value for key, value in state.items() if key.rpartition(".")[2] not in _NOT_WEIGHTS}
    if "logit_scale" in given:
        given["logit_scale"] = given["logit_scale"].reshape(expected["logit_scale"].shape)
    faults = misfits(expected, given)
    if faults:
        raise UserError(
            f"the weights are not those of {name}: {len(faults)} tensors do not fit, first: {faults[0]}",
            where=source,
            hint="name the model that the file was saved from (clip=...)",
        )
    model.load_state_dict(given)


def misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Say what keeps the tensors `given` from replacing the `expected` ones: missing, unexpected, misshapen, of another
    kind of number (precision apart), not finite.
    """
    faults = [f"missing {key}" for key in expected if key not in given]
    faults += [f"unexpected {key:.100}" for key in given if key not in expected]
    for key in (key for key in expected if key in given):
        ours, theirs = expected[key], given[key]
        if theirs.shape != ours.shape:
            faults.append(f"{key} is {tuple(theirs.shape)} instead of {tuple(ours.shape)}")
        elif _kind_of_number(theirs) != _kind_of_number(ours):
            faults.append(f"{key} holds {str(theirs.dtype)[6:]} instead of {str(ours.dtype)[6:]}")
        elif theirs.is_floating_point() and not bool(theirs.float().isfinite().all()):
            faults.append(f"{key} holds values that are not finite")
    return faults


def _kind_of_number(tensor: Tensor) -> tuple[bool, bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex(), tensor.dtype is torch.bool


def _three(given: Sequence[float] | None, default: tuple[float, float, float]) -> tuple[float, float, float]:
    if not given:
        return default
    red, green, blue = map(float, given)
    return red, green, blue


def _activation(asked: bool | None, configured: bool, trained_with: bool | None, name: str, source: str) -> bool:
    if asked is not None:
        return asked
    if trained_with is not None and trained_with != configured:
        trained, built = ("QuickGELU", "GELU") if trained_with else ("GELU", "QuickGELU")
        raise UserError(
            f"the weights {source!r} were trained with {trained}, but model {name} builds {built}",
            where="clip.quick_gelu",
            hint=f"set clip.quick_gelu={str(trained_with).lower()} to match the weights, "
            f"or {str(configured).lower()} to run them with {built} on purpose",
        )
    return configured
