"""PromptAD's scores: what the memory says (vision-guided), what the prompts say (prompt-guided), and both fused."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adbench.methods.base import Features
from adbench.methods.maps import resize_bilinear, smoothed_patch_maps
from adbench.methods.promptad.settings import PromptAdSettings
from adbench.methods.residuals import nearest_distance


def image_score(visual: Tensor, text: Tensor, settings: PromptAdSettings) -> Tensor:
    """Of the memory's grid (B, 1, G, G), its largest value once resized, neither blurred nor mixed with text; of the
    prompts their probability (B,). Both fused: (B,)."""
    largest = resize_bilinear(visual, settings.resolution, align_corners=False).flatten(1).amax(dim=1)
    return _guided(text, largest, settings)


def pixel_map(visual: Tensor, text: Tensor, settings: PromptAdSettings) -> Tensor:
    """Both grids (B, 1, G, G) fused, resized, then smoothed: (B, R, R)."""
    fused = _guided(text, visual, settings).flatten(1)  # (B, G * G)
    sigma, truncate = settings.map_blur_sigma, settings.map_blur_truncate
    return smoothed_patch_maps(fused, settings.resolution, sigma, align_corners=False, truncate=truncate)


def _guided(text: Tensor, visual: Tensor, settings: PromptAdSettings) -> Tensor:
    if settings.guidance == "both":
        return fuse(text, visual)
    return text if settings.guidance == "prompt" else visual


def memory_distance(features: Features, galleries: Sequence[Tensor]) -> Tensor:
    """Half the cosine distance of each patch to its nearest in the memory, mean over layers: (B, P) in [0, 1]."""
    layers = enumerate(galleries, start=1)
    return torch.stack([nearest_distance(features[f"memory{i}"], gallery, 0.5) for i, gallery in layers]).mean(dim=0)


def abnormal_probability(features: Tensor, prototypes: Tensor, scale: float) -> Tensor:
    """Softmax over the normal and the abnormal prototype (2, E), abnormal part: (..., E) -> (...)."""
    normal, abnormal = (scale * features @ prototypes.T).unbind(-1)
    return (abnormal - normal).sigmoid()


def fuse(a: Tensor, b: Tensor) -> Tensor:
    """Half the harmonic mean; 0 where one of them is."""
    fused: Tensor = 1 / (1 / a + 1 / b)
    return fused
