"""The floor without learning: how far a pixel's colour lies from its image's median colour."""

from __future__ import annotations

import torch

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.base import Features, Method, Prediction
from adbench.methods.registry import register


@register("median_colour")
class MedianColour(Method):
    """A method that is not better than this has learned nothing. The backbone only gives the image size."""

    supervision = "none"

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip)
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="before")

    def encode(self, batch: Batch) -> Features:
        """Images with channels in [0, 1]."""
        std, mean = (
            torch.tensor(values, device=batch.images.device).view(3, 1, 1) for values in (self.clip.std, self.clip.mean)
        )
        return {"colours": batch.images * std + mean}

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Euclidean distance in RGB, 0 to sqrt(3), for each pixel; the largest one for the image."""
        colours = features["colours"]
        median = colours.flatten(2).median(dim=-1).values[:, :, None, None]
        maps = (colours - median).norm(dim=1)
        return Prediction(maps.flatten(1).amax(dim=1), maps)
