"""AnomalyCLIP: two learned prompts about "object", compared with the image and with its V-V patch features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.anomalyclip.settings import BY_VARIANT, AnomalyClipSettings
from adbench.methods.base import Features, Method, Prediction
from adbench.methods.blocks import check_blocks, quarters
from adbench.methods.learned_prompts import (
    ValueCache,
    abnormal_probability,
    check_dpam_layer,
    deep_copies,
    deep_tables,
    from_second_block,
    frozen_token_buffers,
    load_learner,
    prompt_sentence,
    visual_features,
    write_official,
)
from adbench.methods.losses import map_losses, n_known
from adbench.methods.maps import patch_maps, smoothed_patch_maps
from adbench.methods.registry import register
from adbench.methods.variants import by_variant


@register("anomalyclip")
class AnomalyClip(Method):
    """AnomalyCLIP, learned on auxiliary data and applied to unseen classes."""

    settings_class = AnomalyClipSettings
    scores_are_probabilities = True
    features_suffice = True
    scoring_only = frozenset({"gaussian_sigma"})
    learns_from_masks = "also"

    def __init__(self, clip: Clip, settings: AnomalyClipSettings) -> None:
        super().__init__(clip)
        self.settings = chosen = by_variant(settings, BY_VARIANT)
        listed = chosen.features_list or (quarters(clip) if chosen.variant == "paper" else [clip.n_layers])
        self.features_list = tuple(sorted(set(listed)))
        check_dpam_layer(clip, chosen.dpam_layer)
        check_blocks(clip, "features_list", self.features_list)
        first = chosen.feature_map_layer[0]
        if first >= len(self.features_list):
            raise ValueError(
                f"feature_map_layer is {list(chosen.feature_map_layer)}: its first entry is no index into the "
                f"{len(self.features_list)} block(s) of features_list"
            )
        self.layers = self.features_list[first:]
        filled = [chosen.filler] * chosen.n_ctx
        states = ((chosen.object_word,), (chosen.abnormal_state_word, chosen.object_word))
        self._ids = clip.tokenize([prompt_sentence(*filled, *words, suffix=chosen.prompt_suffix) for words in states])
        if not (self._ids[:, 1 : chosen.n_ctx + 1] == self._ids[0, 1]).all():
            raise ValueError(f"filler {chosen.filler!r} is not one token")
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="after")
        width = clip.text_width
        self.ctx_pos = nn.Parameter(nn.init.normal_(torch.empty(1, 1, chosen.n_ctx, width), std=0.02))
        self.ctx_neg = nn.Parameter(nn.init.normal_(torch.empty(1, 1, chosen.n_ctx, width), std=0.02))
        self.compound_prompts_text = deep_tables(chosen.deep_depth, chosen.deep_tokens, width)
        self._text_cache = ValueCache()
        self._unused: dict[str, Tensor] = {}

    def encode(self, batch: Batch) -> Features:
        """image (B, C) and patches (B, layers, N, C), unit length."""
        image, patches = visual_features(self.clip, batch.images, self.layers, **self._visual_settings())
        return {"image": image, "patches": patches[:, :, 1:]}

    def feature_settings(self) -> Mapping[str, Any]:
        """What decides the features."""
        return {"layers": list(self.layers), **self._visual_settings()}

    def _visual_settings(self) -> dict[str, Any]:
        return {"dpam_layer": self.settings.dpam_layer, "cls_ln_post": self.settings.cls_ln_post}

    def prompt_embeddings(self) -> Tensor:
        """Token embeddings (2, 77, W) of the normal and the abnormal prompt, learnable tokens in place."""
        frozen = self.clip.model.token_embedding(self._ids.to(self.clip.device))
        learned = torch.cat([self.ctx_pos[0], self.ctx_neg[0]]).to(frozen.dtype)
        return torch.cat([frozen[:, :1], learned, frozen[:, 1 + learned.shape[1] :]], dim=1)

    def raw_text_features(self) -> Tensor:
        """Text tower's output (2, C) for the normal and the abnormal prompt."""
        embeddings = self.prompt_embeddings()[:, 1:]
        text = self.clip.embed_text(self._ids, embeddings=embeddings, min_length=self.settings.deep_tokens + 2, first=1)
        with torch.no_grad():
            start = self.clip.begin_text(self.clip.embed_text(self._ids[:1, :1]).tokens)
        deep = (
            deep_copies(table, 2, half_cast=self.settings.deep_token_half_cast) for table in self.compound_prompts_text
        )
        return self.clip.text_blocks(text, overwrite=from_second_block(deep), earlier=start)

    def text_features(self) -> Tensor:
        """Directions (2, C) of the normal and the abnormal prompt; they do not depend on the image."""
        if torch.is_grad_enabled():
            return F.normalize(self.raw_text_features(), dim=-1)
        features: Tensor = self._text_cache.get(
            self.parameters(), lambda: F.normalize(self.raw_text_features(), dim=-1)
        )
        return features

    def layer_maps(self, features: Features, text: Tensor) -> Tensor:
        """Abnormal probability of each layer, resized: (B, layers, S, S)."""
        probability = abnormal_probability(features["patches"], text, self.settings.temperature)  # (B, layers, N)
        return patch_maps(probability, self.map_size, align_corners=False)

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """lambda x (focal + dice of both channels, summed over layers), and cross-entropy of the image."""
        text = self.text_features()
        maps = self.layer_maps(features, text)
        # The two channels of a softmax stay complementary under bilinear resizing.
        terms = map_losses(maps, 1 - maps, batch)
        logits = features["image"] @ text.T / self.settings.temperature
        return {name: self.settings.lambda_local * value.mean(dim=0).sum() for name, value in terms.items()} | {
            "image_cross_entropy": F.cross_entropy(logits, batch.labels)
        }

    def term_count(self, name: str, batch: Batch) -> int:
        """Terms of the maps are means over the images whose masks are known."""
        return len(batch) if name == "image_cross_entropy" else n_known(batch)

    def map_before_smoothing(self, features: Features, text: Tensor) -> Tensor:
        """Sum over layers of the abnormal probability, (B, S, S), in [0, number of layers]."""
        return self.layer_maps(features, text).sum(dim=1)

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Probability of the abnormal prompt for the image; the smoothed map."""
        text = self.text_features()
        scores = abnormal_probability(features["image"], text, self.settings.temperature).float()
        # Resizing, the sum over layers and the filter are linear.
        summed = abnormal_probability(features["patches"], text, self.settings.temperature).sum(dim=1).float()
        sigma = self.settings.gaussian_sigma
        return Prediction(scores, smoothed_patch_maps(summed, self.map_size, sigma, align_corners=False))

    def load_official(self, path: str | Path) -> None:
        """Load epoch_N.pth of the authors' code."""
        self._unused = load_learner(self, path, self._frozen_tokens())

    def save_official(self, path: str | Path) -> None:
        """Write what the authors' code loads strictly."""
        write_official(path, self.learnable_state(), self._frozen_tokens(), self._unused)

    def _frozen_tokens(self) -> dict[str, Tensor]:
        ids = {"pos": self._ids[:1], "neg": self._ids[1:]}
        return frozen_token_buffers(self.clip, ids, {"pos": self.settings.n_ctx, "neg": self.settings.n_ctx})
