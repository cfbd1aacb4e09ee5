"""WinCLIP: windows of patches against an ensemble of sentences; WinCLIP+: against normal images as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.clip.prompts import INCTRL_ENSEMBLE, WINCLIP_ENSEMBLE, state_means
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.base import Features, Method, Prediction
from adbench.methods.maps import resize_bilinear
from adbench.methods.memories import not_adapted, rows_by_class
from adbench.methods.registry import register
from adbench.methods.residuals import nearest_distance
from adbench.methods.winclip.windows import harmonic_mean, harmonic_to_patches, window_features
from adbench.typed import NonEmpty, PositiveFloat, PositiveInt

_ENSEMBLES = {"anomalib": WINCLIP_ENSEMBLE, "inctrl22": INCTRL_ENSEMBLE}


@register("winclip")
class WinClip(Method):
    """Zero-shot without support, WinCLIP+ for the classes that it was adapted to. Nothing is trained."""

    supervision = "none"
    adapts = True
    features_suffice = True

    def __init__(
        self,
        clip: Clip,
        *,
        scales: Annotated[Sequence[PositiveInt], NonEmpty] = (2, 3),
        temperature: PositiveFloat = 0.07,
        prompt_ensemble: Literal["anomalib", "inctrl22"] = "anomalib",
        max_tokens: PositiveInt = 16384,
    ) -> None:
        super().__init__(clip)
        for scale in scales:
            if scale > clip.grid:
                raise ValueError(f"scales name {scale}, outside 1 to {clip.grid} patches for this image size")
        self.scales = tuple(scales)
        self.temperature = temperature
        self.prompt_ensemble = prompt_ensemble
        self.max_tokens = max_tokens
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="before")
        self._text: dict[str, Tensor] = {}

    @torch.no_grad()
    def encode(self, batch: Batch) -> Features:
        """image (B, C); patches (B, N, V), after ln_post without projection; windows_S (B, n, C): not normalised."""
        embedded = self.clip.embed_image(batch.images)
        tokens = self.clip.image_blocks(embedded).tokens
        features = {
            "image": self.clip.project(tokens[:, 0]),
            "patches": self.clip.model.visual.ln_post(tokens[:, 1:]),
        }
        for scale in self.scales:
            features[f"windows_{scale}"] = window_features(self.clip, embedded, scale, self.max_tokens)
        return features

    def prompt_words(self, class_name: str) -> str:
        """The class name as it is."""
        return class_name

    @torch.no_grad()
    def text_embeddings(self, class_name: str) -> Tensor:
        """Mean sentence features (2, C) of the normal and the anomalous state, not normalised; once per class."""
        if class_name not in self._text:
            normal, abnormal = _ENSEMBLES[self.prompt_ensemble].sentences(class_name)
            sentences = self.clip.encode_text(self.clip.tokenize(normal + abnormal))
            self._text[class_name] = state_means(sentences, len(normal))
        return self._text[class_name].to(self.clip.device)

    @torch.no_grad()
    def adapt(self, class_name: str, support: Batch, features: Features | None = None) -> None:
        """Keep the unit vectors of all patches and windows of the support, position and image forgotten."""
        encoded = self.encode(support) if features is None else features
        self.memory_bank[class_name] = {
            name: F.normalize(values, dim=-1).flatten(0, 1) for name, values in encoded.items() if name != "image"
        }

    # Zero-shot: sentences

    def probability(self, features: Tensor, batch: Batch) -> Tensor:
        """Probability of the anomalous state, (B,) for one feature vector per image (B, C), (B, n) for (B, n, C)."""
        text = torch.stack([self.text_embeddings(name) for name in batch.class_names])  # (B, 2, C)
        vectors = features if features.dim() == 3 else features.unsqueeze(1)
        cosines = F.normalize(vectors, dim=-1) @ F.normalize(text, dim=-1).mT  # (B, n, 2)
        anomalous = (cosines / self.temperature).float().softmax(dim=-1)[..., 1]
        return anomalous if features.dim() == 3 else anomalous[:, 0]

    def zero_shot_map(self, features: Features, batch: Batch) -> Tensor:
        """Harmonic mean (B, G, G) of the whole image's score and the maps of all scales."""
        whole = self.probability(features["image"], batch)[:, None, None].expand(-1, self.clip.grid, self.clip.grid)
        maps = [
            harmonic_to_patches(self.probability(features[f"windows_{scale}"], batch), self.clip.grid, scale)
            for scale in self.scales
        ]
        return harmonic_mean(torch.stack([whole, *maps]))

    # Few-shot: nearest normal features

    def associations(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """(1 - cos) / 2 to the nearest support vector: "patches" (B, N) and "windows_S" (B, n).

        Raises UserError for a class without memory.
        """
        distances: dict[str, Tensor] = {}
        for name, rows in rows_by_class(batch.class_names):
            if name not in self.memory_bank:
                raise not_adapted(self, name)
            for key, vectors in self.memory_bank[name].items():
                values = nearest_distance(F.normalize(features[key][rows], dim=-1), vectors, 0.5).float()
                distances.setdefault(key, values.new_empty(batch.images.shape[0], values.shape[1]))[rows] = values
        return distances

    def few_shot_map(self, features: Features, batch: Batch) -> Tensor:
        """Mean (B, G, G) of the patches' map and the maps of all scales."""
        side = self.clip.grid
        distances = self.associations(features, batch)
        maps = [distances["patches"].unflatten(1, (side, side))]
        maps += [harmonic_to_patches(distances[f"windows_{scale}"], side, scale) for scale in self.scales]
        return torch.stack(maps).mean(dim=0)

    @torch.no_grad()
    def score(self, features: Features, batch: Batch) -> Prediction:
        """Zero-shot scores and maps while the memory is empty, else their means with the few-shot ones."""
        scores, maps = self.probability(features["image"], batch), self.zero_shot_map(features, batch)
        if self.memory_bank:
            few_shot = self.few_shot_map(features, batch)
            scores = (scores + few_shot.flatten(1).amax(dim=1)) / 2
            maps = (maps + few_shot) / 2
        return Prediction(scores, resize_bilinear(maps.unsqueeze(1), self.map_size, align_corners=False)[:, 0])
