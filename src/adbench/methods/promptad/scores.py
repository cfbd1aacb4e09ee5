"""PromptAD's scores: what the memory says (vision-guided), what the prompts say (prompt-guided), and both fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from adbench.methods.base import Features
from adbench.methods.maps import resize_bilinear, smooth
from adbench.methods.residuals import nearest_distance

Guidance = Literal["both", "prompt", "vision"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """From what is known of patches and image to scores and maps: fields as the hyperparameters of `PromptAd`."""

    guidance: Guidance = "both"
    resolution: int = 400
    map_blur_sigma: float = 4.0
    map_blur_truncate: float = 4.0

    def image_score(self, visual: Tensor, text: Tensor) -> Tensor:
        """Of the memory's grid (B, 1, G, G), its largest value once resized, neither blurred nor mixed with text; of
        the prompts their probability (B,). Both fused: (B,)."""
        largest = resize_bilinear(visual, self.resolution, align_corners=False).flatten(1).amax(dim=1)
        return self._guided(text, largest)

    def pixel_map(self, visual: Tensor, text: Tensor) -> Tensor:
        """Both grids (B, 1, G, G) fused, resized, then smoothed: (B, R, R)."""
        resized = resize_bilinear(self._guided(text, visual), self.resolution, align_corners=False)[:, 0]
        return smooth(resized, self.map_blur_sigma, truncate=self.map_blur_truncate)

    def _guided(self, text: Tensor, visual: Tensor) -> Tensor:
        if self.guidance == "both":
            return fuse(text, visual)
        return text if self.guidance == "prompt" else visual


def memory_distance(features: Features, galleries: Sequence[Tensor]) -> Tensor:
    """Half the cosine distance of each patch to its nearest in the memory, mean over layers: (B, P) in [0, 1]."""
    distances = [nearest_distance(features[f"memory{i}"], one, 0.5) for i, one in enumerate(galleries, start=1)]
    return torch.stack(distances).mean(dim=0)


def abnormal_probability(features: Tensor, prototypes: Tensor, scale: float) -> Tensor:
    """Softmax over the normal and the abnormal prototype (2, E), abnormal part: (..., E) -> (...)."""
    normal, abnormal = (scale * features @ prototypes.T).unbind(-1)
    return (abnormal - normal).sigmoid()


def fuse(a: Tensor, b: Tensor) -> Tensor:
    """Half the harmonic mean; 0 where one of them is."""
    fused: Tensor = 1 / (1 / a + 1 / b)
    return fused
