"""What AnomalyCLIP and FAPrompt share: V-V patch features, learnable prompt tokens, deep tokens in the text tower."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.errors import UserError
from adbench.methods.weights import load_strictly, save_torch
from adbench.weight_files import open_weights

# Rows of linear layers that the authors' code creates, saves and never uses.
UNUSED_PROJECTION_ROWS = 896


def visual_features(
    clip: Clip, images: Tensor, layers: Sequence[int], *, dpam_layer: int, cls_ln_post: bool
) -> tuple[Tensor, Tensor]:
    """Frozen features with the V-V ("DPAM") path in the last `dpam_layer - 1` blocks (AnomalyCLIP, section 1).

    Returns the class token's (B, C) and local ones (B, layers, 1 + N, C), class position first; all of unit length.
    Positions are resized bilinearly. The class token is projected without ln_post unless `cls_ln_post`; the local
    streams after `layers` (before the path begins: the ordinary stream) pass ln_post and the projection.
    """
    with torch.no_grad():
        streams = clip.image_blocks(
            clip.embed_image(images, interpolation="bilinear"),
            local_from=clip.n_layers - dpam_layer + 2,
            collect_local=layers,
            class_token_only=True,
        )
        image = clip.project(streams.tokens[:, 0], ln_post=cls_ln_post)
        patches = torch.stack([clip.project(streams.local_blocks[layer]) for layer in layers], dim=1)
    return F.normalize(image, dim=-1), F.normalize(patches, dim=-1)


def abnormal_probability(features: Tensor, text: Tensor, temperature: float) -> Tensor:
    """Softmax over {normal, abnormal} of cosines over a temperature, abnormal part.

    features (..., C) and text (..., 2, C), both of unit length, broadcast over the leading dimensions.
    """
    logits = features @ text.transpose(-1, -2) / temperature
    probability: Tensor = (logits[..., 1] - logits[..., 0]).sigmoid()
    return probability


def check_dpam_layer(clip: Clip, dpam_layer: int) -> None:
    """Raise ValueError where the image tower has too few blocks for the V-V path."""
    if not 2 <= dpam_layer <= clip.n_layers + 1:
        raise ValueError(f"dpam_layer is {dpam_layer}, outside 2 to {clip.n_layers + 1} for this backbone")


def prompt_sentence(*words: str, suffix: str) -> str:
    """Words joined by single spaces, empty ones left out, the suffix directly behind."""
    return " ".join(word for word in words if word) + suffix


def deep_tables(depth: int, n_tokens: int, width: int) -> nn.ParameterList:
    """Learnable tokens for blocks 2 to `depth`: depth - 1 tables (n_tokens, width) from N(0, 0.02^2)."""
    tables = (nn.Parameter(torch.empty(n_tokens, width)) for _ in range(depth - 1))
    return nn.ParameterList(nn.init.normal_(table, std=0.02) for table in tables)


def deep_copies(table: Tensor, n: int, *, half_cast: bool) -> Tensor:
    """One copy of deep tokens (n_tokens, W) per sequence, (n, n_tokens, W).

    half_cast rounds each copy to fp16, and so each copy's gradient, as the authors' code does.
    """
    expanded = table.expand(n, -1, -1)
    return (expanded.half() if half_cast else expanded).to(table.dtype)


def from_second_block(tables: Iterable[Tensor]) -> dict[int, Tensor]:
    """Deep tokens by the number of the text block that they enter before: table i before block 2 + i."""
    return dict(enumerate(tables, start=2))


class ValueCache:
    """One value that stands as long as the contents of given tensors and the precision of computing are the same."""

    def __init__(self) -> None:
        self._key: Tensor | None = None
        self._autocast = False
        self._value: Any = None

    def get(self, tensors: Iterable[Tensor], compute: Callable[[], Any]) -> Any:
        """The value for the tensors' present contents: whatever changed them, they are compared number by number.

        In a graph that is being exported it is a constant: the value of the last call before.
        """
        if torch.compiler.is_exporting():
            return self._value
        key = torch.cat([tensor.detach().flatten() for tensor in tensors])
        autocast = torch.is_autocast_enabled(key.device.type)
        same = self._key is not None and (self._key.device, self._key.dtype) == (key.device, key.dtype)
        if not same or autocast != self._autocast or not torch.equal(key, self._key):  # type: ignore[arg-type]
            self._value, self._key, self._autocast = compute(), key, autocast
        return self._value


# The authors' checkpoints {"prompt_learner": state}: learnables, copies of frozen token embeddings and of token ids,
# and linear layers that nothing uses

_UNUSED = "compound_prompt_projections."
_FROZEN = ("token_prefix_", "token_suffix_", "tokenized_prompts_")


def frozen_token_buffers(clip: Clip, ids: Mapping[str, Tensor], n_learned: Mapping[str, int]) -> dict[str, Tensor]:
    """Buffers of the authors' prompt learner for prompts `pos` and `neg`: embeddings around the learnable tokens.

    ids        per prompt (k, 77) token ids
    n_learned  per prompt the number of learnable positions after the start token
    """
    buffers = {}
    for key, codes in ids.items():
        embedded = clip.model.token_embedding(codes.to(clip.device)).detach().unsqueeze(0)
        buffers[f"token_prefix_{key}"] = embedded[:, :, :1]
        buffers[f"token_suffix_{key}"] = embedded[:, :, 1 + n_learned[key] :]
        buffers[f"tokenized_prompts_{key}"] = codes.unsqueeze(0).int()
    return buffers


def load_learner(learner: nn.Module, path: str | Path, frozen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Load an authors' checkpoint into `learner`; returns its unused projections.

    frozen  the buffers of `frozen_token_buffers`. Raises UserError when the checkpoint holds other ones: its prompts
            or its backbone are not those of the method. Nothing is loaded then.
    """
    where = str(path)
    opened = open_weights(path)
    state = opened.state("prompt_learner")
    if state is None:
        raise UserError(
            f"no entry 'prompt_learner' in the checkpoint, but {opened.described()}",
            where=where,
            hint="give the authors' epoch_N.pth",
        )
    for key, ours in sorted(frozen.items(), reverse=True):  # the ids first: other prompts have other embeddings too
        theirs = state.get(key)
        if isinstance(theirs, Tensor) and theirs.shape == ours.shape and _same_tokens(theirs, ours):
            continue
        if key.startswith("tokenized_prompts_"):
            raise UserError(
                f"the checkpoint's prompts ({key}) are not those of this method's settings",
                where=where,
                hint="set the numbers of learnable tokens and the prompt words as in its training",
            )
        raise UserError(
            f"the checkpoint was trained on another backbone: its token embeddings ({key}) are different",
            where=where,
            hint="load the CLIP that it was trained on (clip=...)",
        )
    load_strictly(learner, {k: v for k, v in state.items() if not k.startswith((*_FROZEN, _UNUSED))}, where=where)
    return {key: value for key, value in state.items() if key.startswith(_UNUSED)}


def _same_tokens(theirs: Tensor, ours: Tensor) -> bool:
    if not ours.is_floating_point():
        return torch.equal(theirs.cpu().long(), ours.cpu().long())
    # The authors' weights went through fp16 once; another CLIP's embeddings differ by about their own size.
    return torch.allclose(theirs.cpu().float(), ours.cpu().float(), rtol=1e-2, atol=1e-4)


def write_official(
    path: str | Path, learned: Mapping[str, Tensor], frozen: Mapping[str, Tensor], unused: Mapping[str, Tensor]
) -> None:
    """Write {"prompt_learner": state}, with unused projections (zero where none were loaded): loaded strictly there."""
    width = learned["ctx_pos"].shape[-1]
    state = {**learned, **frozen}
    for index in range(sum(key.startswith("compound_prompts_text.") for key in learned)):
        for name, shape in (("weight", (UNUSED_PROJECTION_ROWS, width)), ("bias", (UNUSED_PROJECTION_ROWS,))):
            key = f"{_UNUSED}{index}.{name}"
            state[key] = unused[key] if key in unused else torch.zeros(shape)
    save_torch(path, state, below="prompt_learner")
