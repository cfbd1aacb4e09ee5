"""AnomalyCLIP: two learned prompts about "object", compared with the image and with its V-V patch features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.base import Features, Method, Prediction
from adbench.methods.learned_prompts import (
    ValueCache,
    abnormal_probability,
    check_layers,
    deep_copies,
    deep_tables,
    from_second_block,
    frozen_token_buffers,
    load_learner,
    prompt_sentence,
    unit,
    visual_features,
    write_official,
)
from adbench.methods.losses import dice, focal, known_masks
from adbench.methods.maps import resize_bilinear, smooth, to_grid
from adbench.methods.registry import register
from adbench.typed import Few, NonEmpty, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Sigma


@register("anomalyclip")
class AnomalyClip(Method):
    """AnomalyCLIP, learned on auxiliary data and applied to unseen classes.

    variant             "official" follows the authors' code; "paper": ln_post on the class token, no full stop in the
                        prompts, four layers with weight 1 each. (Appending the deep tokens, as early versions of the
                        paper have it, is not offered: the authors call that text outdated.)
    n_ctx               learnable tokens of each prompt
    deep_depth          deep tokens enter text blocks 2 to this one; deep_tokens of them
    dpam_layer          one more than the number of last image blocks with V-V attention
    features_list       image blocks that give patch features, in the tower's order; None: the last (paper: each
                        quarter)
    feature_map_layer   only its first entry counts: the smallest index into features_list that takes part
    lambda_local        weight of the local loss, to be chosen with the number of layers; None: 4 (paper: 1)
    gaussian_sigma      smoothing of the map in pixels; does not scale with the image size
    cls_ln_post         apply ln_post to the class token; prompt_suffix follows the prompts; None: by variant
    deep_token_half_cast  round deep tokens to fp16, as the authors' code does
    """

    features_suffice = True
    scoring_only = frozenset({"gaussian_sigma"})
    learns_from_masks = "also"

    def __init__(
        self,
        clip: Clip,
        *,
        variant: Literal["official", "paper"] = "official",
        n_ctx: Few = 12,
        deep_depth: Few = 9,
        deep_tokens: Few = 4,
        dpam_layer: PositiveInt = 20,
        features_list: Annotated[Sequence[PositiveInt], NonEmpty] | None = None,
        feature_map_layer: Annotated[Sequence[NonNegativeInt], NonEmpty] = (0,),
        lambda_local: NonNegativeFloat | None = None,
        temperature: PositiveFloat = 0.07,
        gaussian_sigma: Sigma = 4.0,
        cls_ln_post: bool | None = None,
        prompt_suffix: str | None = None,
        object_word: str = "object",
        abnormal_state_word: str = "damaged",
        filler: str = "X",
        deep_token_half_cast: bool = True,
    ) -> None:
        super().__init__(clip)
        paper = variant == "paper"
        quarters = [max(1, clip.n_layers * part // 4) for part in (1, 2, 3, 4)]
        self.features_list = tuple(sorted(set(features_list or (quarters if paper else [clip.n_layers]))))
        check_layers(clip, dpam_layer, self.features_list)
        self.layers = self.features_list[_first(feature_map_layer, len(self.features_list)) :]
        self.n_ctx, self.deep_tokens, self.dpam_layer = n_ctx, deep_tokens, dpam_layer
        self.lambda_local = lambda_local if lambda_local is not None else (1.0 if paper else 4.0)
        self.temperature, self.gaussian_sigma = temperature, gaussian_sigma
        self.cls_ln_post = paper if cls_ln_post is None else cls_ln_post
        suffix = ("" if paper else ".") if prompt_suffix is None else prompt_suffix
        self.deep_token_half_cast = deep_token_half_cast
        filled = [filler] * n_ctx
        self._ids = clip.tokenize(
            [
                prompt_sentence(*filled, object_word, suffix=suffix),
                prompt_sentence(*filled, abnormal_state_word, object_word, suffix=suffix),
            ]
        )
        if not (self._ids[:, 1 : n_ctx + 1] == self._ids[0, 1]).all():
            raise ValueError(f"filler {filler!r} is not one token")
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="after")
        width = clip.text_width
        self.ctx_pos = nn.Parameter(nn.init.normal_(torch.empty(1, 1, n_ctx, width), std=0.02))
        self.ctx_neg = nn.Parameter(nn.init.normal_(torch.empty(1, 1, n_ctx, width), std=0.02))
        self.compound_prompts_text = deep_tables(deep_depth, deep_tokens, width)
        self._text_cache = ValueCache()
        self._unused: dict[str, Tensor] = {}

    def encode(self, batch: Batch) -> Features:
        """image (B, C) and patches (B, layers, N, C), unit length."""
        found = visual_features(
            self.clip, batch.images, self.layers, dpam_layer=self.dpam_layer, cls_ln_post=self.cls_ln_post
        )
        return {"image": found.image, "patches": found.patches[:, :, 1:]}

    def feature_settings(self) -> Mapping[str, Any]:
        """What decides the features."""
        return {"layers": list(self.layers), "dpam_layer": self.dpam_layer, "cls_ln_post": self.cls_ln_post}

    def prompt_embeddings(self) -> Tensor:
        """Token embeddings (2, 77, W) of the normal and the abnormal prompt, learnable tokens in place."""
        frozen = self.clip.model.token_embedding(self._ids.to(self.clip.device))
        learned = torch.cat([self.ctx_pos[0], self.ctx_neg[0]]).to(frozen.dtype)
        return torch.cat([frozen[:, :1], learned, frozen[:, 1 + learned.shape[1] :]], dim=1)

    def raw_text_features(self) -> Tensor:
        """Text tower's output (2, C) for the normal and the abnormal prompt."""
        embeddings = self.prompt_embeddings()[:, 1:]
        text = self.clip.embed_text(self._ids, embeddings=embeddings, min_length=self.deep_tokens + 2, first=1)
        with torch.no_grad():
            start = self.clip.begin_text(self.clip.embed_text(self._ids[:1, :1]).tokens)
        deep = (deep_copies(table, 2, half_cast=self.deep_token_half_cast) for table in self.compound_prompts_text)
        return self.clip.text_blocks(text, overwrite=from_second_block(deep), earlier=start)

    def text_features(self) -> Tensor:
        """Directions (2, C) of the normal and the abnormal prompt; they do not depend on the image."""
        if torch.is_grad_enabled():
            return unit(self.raw_text_features())
        features: Tensor = self._text_cache.get(self.parameters(), lambda: unit(self.raw_text_features()))
        return features

    def layer_maps(self, features: Features, text: Tensor) -> Tensor:
        """Abnormal probability of each layer, resized: (B, layers, S, S)."""
        probability = abnormal_probability(features["patches"], text, self.temperature)  # (B, layers, N)
        grids = to_grid(probability.unsqueeze(-1), self.clip.grid)[:, :, 0]
        return resize_bilinear(grids, self.map_size, align_corners=False)

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """lambda x (focal + dice of both channels, summed over layers), and cross-entropy of the image."""
        text = self.text_features()
        terms = self.local_terms(self.layer_maps(features, text), batch)
        logits = features["image"] @ text.T / self.temperature
        return {name: self.lambda_local * value.mean(dim=0).sum() for name, value in terms.items()} | {
            "image_cross_entropy": F.cross_entropy(logits, batch.labels)
        }

    def local_terms(self, maps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Terms of the local loss before lambda, (n, layers) each, of the n images whose masks are known."""
        known = known_masks(batch)
        if known is None:
            return {}
        rows, masks = known[0], known[1].to(maps)
        layers = maps[rows].unbind(1)
        # The two channels of a softmax stay complementary under bilinear resizing.
        return {
            "pixel_focal": torch.stack([focal(1 - m, m, masks) for m in layers], dim=1),
            "dice_abnormal": torch.stack([dice(m, masks) for m in layers], dim=1),
            "dice_normal": torch.stack([dice(1 - m, 1 - masks) for m in layers], dim=1),
        }

    def map_before_smoothing(self, features: Features, text: Tensor) -> Tensor:
        """Sum over layers of the abnormal probability, (B, S, S), in [0, number of layers]."""
        return self.layer_maps(features, text).sum(dim=1)

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Probability of the abnormal prompt for the image; the smoothed map."""
        text = self.text_features()
        scores = abnormal_probability(features["image"], text, self.temperature).float()
        return Prediction(scores, smooth(self.map_before_smoothing(features, text).float(), self.gaussian_sigma))

    def load_official(self, path: str | Path) -> None:
        """Load epoch_N.pth of the authors' code."""
        self._unused = load_learner(self, path, self._frozen_tokens())

    def save_official(self, path: str | Path) -> None:
        """Write what the authors' code loads strictly."""
        write_official(path, self.learnable_state(), self._frozen_tokens(), self._unused)

    def _frozen_tokens(self) -> dict[str, Tensor]:
        ids = {"pos": self._ids[:1], "neg": self._ids[1:]}
        return frozen_token_buffers(self.clip, ids, {"pos": self.n_ctx, "neg": self.n_ctx})


def _first(feature_map_layer: Sequence[int], n_layers: int) -> int:
    first = min(feature_map_layer[:1], default=-1)
    if not 0 <= first < n_layers:
        raise ValueError(
            f"feature_map_layer is {list(feature_map_layer)}: its first entry is no index into the {n_layers} "
            "block(s) of features_list"
        )
    return first
