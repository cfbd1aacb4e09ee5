"""Everything that InCTRL computes between features and scores, by name."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Comparison:
    """Queries against normal images.

    prompts          (B, K, E) class features of each row's prompts, as `batch_layout` groups them; None from memories
    adapted_prompts  (B, E) mean of the adapted ones
    layer_maps       (B, L, P) distance of each patch to the nearest prompt patch, per layer
    """

    prompts: Tensor | None
    adapted_prompts: Tensor
    layer_maps: Tensor


@dataclass(frozen=True, slots=True)
class InCtrlOutputs:
    """Everything between the features and the scores of a batch (section 1 of the specification).

    text              (B, 2, E) unit directions of the normal and the abnormal state
    text_logits       (B, 2) temperature x cosine of the class feature with them
    adapted_query, image_residual   (B, E); the residual is prompts minus query
    residual_map      (B, P) mean of the layers' maps
    s_a, s_i, s_p     (B,) text prior, image-level score, largest residual
    holistic_map      (B, P), holistic_score (B,)
    final_score       (B,) what everything is for
    """

    text: Tensor
    text_logits: Tensor
    comparison: Comparison
    adapted_query: Tensor
    image_residual: Tensor
    residual_map: Tensor
    s_a: Tensor
    s_i: Tensor
    s_p: Tensor
    holistic_map: Tensor
    holistic_score: Tensor
    final_score: Tensor
