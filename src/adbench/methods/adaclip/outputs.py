"""What AdaCLIP computes between the frozen features of a batch and its predictions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Outputs:
    """Everything between the features and the predictions of a batch; None where a setting leaves it out.

    patch_tokens   (B, layers, 1 + N, V) raw block outputs, class token first, prompts removed
    pooled         (B, C) class token's feature of the (prompted) pass, not normalised
    proj_patch     (B, layers, N, C) and proj_cls (B, C), projected by the heads, unit length
    text           (B, C, 2) directions of the normal and the abnormal state
    layer_logits   (B, layers, N, 2) temperature x cosine
    hsf            (B, C) HSF feature before it is blended with proj_cls
    image_logits   (B, 2)
    """

    dynamic_visual: Tensor | None
    dynamic_text: Tensor | None
    patch_tokens: Tensor
    pooled: Tensor
    proj_patch: Tensor
    proj_cls: Tensor
    text: Tensor
    layer_logits: Tensor
    hsf: Tensor | None
    image_logits: Tensor
