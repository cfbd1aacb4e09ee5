"""Plain CLIP: the cosine with an ensemble of state prompts, for the image and for each patch. Nothing is trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.clip.prompts import ADACLIP_ENSEMBLE, encode_ensemble
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.base import Features, Method, Prediction
from adbench.methods.maps import patch_maps, smooth
from adbench.methods.registry import register
from adbench.typed import PositiveFloat, Sigma


@register("clip_zeroshot")
class ClipZeroShot(Method):
    """The baseline that every learned prompt has to beat, with AdaCLIP's sentences and preprocessing."""

    scores_are_probabilities = True
    supervision = "none"

    def __init__(self, clip: Clip, *, temperature: PositiveFloat = 100.0, gaussian_sigma: Sigma = 4.0) -> None:
        super().__init__(clip)
        self.temperature, self.sigma = temperature, gaussian_sigma
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="before")
        self._directions: dict[str, Tensor] = {}

    @torch.no_grad()
    def encode(self, batch: Batch) -> Features:
        """Class and patch tokens of the last block in the joint space, unit length: (B, 1 + N, C)."""
        streams = self.clip.image_blocks(self.clip.embed_image(batch.images))
        return {"tokens": F.normalize(self.clip.project(streams.tokens), dim=-1)}

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Probability of the abnormal state: of the class token for the image, of each patch for the map."""
        text = torch.stack([self._text(name) for name in batch.class_names])  # (B, C, 2)
        logits = (self.temperature * features["tokens"] @ text).float()  # (B, 1 + N, 2)
        difference = logits[..., 1:] - logits[..., :1]
        maps = patch_maps(difference[:, 1:].mT, self.map_size, align_corners=True)[:, 0].sigmoid()
        return Prediction(difference[:, 0, 0].sigmoid(), smooth(maps, self.sigma))

    def _text(self, class_name: str) -> Tensor:
        if class_name not in self._directions:
            words = self.prompt_words(class_name)
            self._directions[class_name] = encode_ensemble(self.clip, ADACLIP_ENSEMBLE, words)
        return self._directions[class_name].to(self.clip.device)

    def prompt_words(self, class_name: str) -> str:
        """The class name with spaces for hyphens and underscores."""
        return class_name.replace("-", " ").replace("_", " ")
