"""FAPrompt: K fine-grained abnormal prompts, adapted to each image by a prior from its patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.base import Features, Method, Prediction, load_strictly
from adbench.methods.faprompt.prompts import (
    PriorNetwork,
    PromptWords,
    abnormal_embeddings,
    encode_prompts,
    normal_embeddings,
)
from adbench.methods.learned_prompts import (
    ValueCache,
    abnormal_probability,
    check_layers,
    deep_tables,
    frozen_token_buffers,
    read_official,
    split_official,
    unit,
    visual_features,
    write_official,
)
from adbench.methods.losses import dice, focal, score_focal
from adbench.methods.maps import resize_bilinear, smooth, to_grid
from adbench.methods.registry import register

# What the paper says where the authors' code differs (specification, section 3).
_OFFICIAL: dict[str, Any] = {
    "dap_select": "first_m",
    "abnormal_state_word": "damaged",
    "prompt_suffix": ".",
    "ortho_weight": 0.1,
    "prior_reduce": "mean",
    "local_weights": (1.0, 0.5),
    "global_losses": ("ce", "score_focal"),
    "score_focal_logits": True,
    "score_map_weights": (2 / 3, 1 / 3),
    "cls_ln_post": False,
}
_PAPER: dict[str, Any] = {
    "dap_select": "top_m",
    "abnormal_state_word": "",
    "prompt_suffix": "",
    "ortho_weight": 2.0,  # the paper sums over i != j, the code over i < j
    "prior_reduce": "sum",
    "local_weights": (0.0, 1.0),
    "global_losses": ("score_focal",),
    "score_focal_logits": False,
    "score_map_weights": (0.5, 0.5),
    "cls_ln_post": True,
}


@dataclass(frozen=True, slots=True)
class Outputs:
    """Text features and patch probabilities of a batch.

    abnormal_raw        (K, C) text features of the abnormal prompts without prior, not normalised
    text, text_prior    (2, C) and (B, 2, C): normal and mean abnormal direction, without and with the images' prior
    abnormal_prior_raw  (B, K, C) abnormal text features with prior, not normalised
    prior               (B, W) what is added to every abnormal token
    patch, patch_prior  (B, N) abnormal probability of each patch against text and text_prior
    """

    abnormal_raw: Tensor
    text: Tensor
    text_prior: Tensor
    abnormal_prior_raw: Tensor
    prior: Tensor
    patch: Tensor
    patch_prior: Tensor


@register("faprompt")
class FaPrompt(Method):
    """FAPrompt, learned on auxiliary data and applied to unseen classes.

    variant               "official" (the authors' code) or "paper"; sets every argument below whose default is None
    n_ctx_pos, n_ctx_neg  learnable tokens shared by all prompts, and own ones of each abnormal prompt
    num_abnormal_prompts  K; num_prior_patches: M patches that make the prior
    dap_select            "first_m": the first M patches in raster order (the authors' code computes the top M and does
                          not use them); "top_m": the most abnormal ones
    deep_depth, deep_tokens, dpam_layer, cls_ln_post, deep_token_half_cast  as in AnomalyCLIP
    ortho_weight          weight of the orthogonality loss (sum over i < j); prior_reduce: mean or sum of squares
    local_weights         of the map losses without and with prior; global_losses: "ce", "score_focal"
    score_focal_logits    apply a sigmoid to the image score within its focal loss, though it is a probability
    score_map_weights     of the map maxima without and with prior in the image score
    gaussian_sigma        smoothing of the map in pixels; does not scale with the image size
    """

    def __init__(
        self,
        clip: Clip,
        *,
        variant: Literal["official", "paper"] = "official",
        n_ctx_pos: int = 5,
        n_ctx_neg: int = 2,
        num_abnormal_prompts: int = 10,
        num_prior_patches: int = 10,
        deep_depth: int = 9,
        deep_tokens: int = 4,
        dpam_layer: int = 20,
        temperature: float = 0.07,
        gaussian_sigma: float = 10.0,
        deep_token_half_cast: bool = True,
        dap_select: Literal["first_m", "top_m"] | None = None,
        abnormal_state_word: str | None = None,
        prompt_suffix: str | None = None,
        ortho_weight: float | None = None,
        prior_reduce: Literal["mean", "sum"] | None = None,
        local_weights: Sequence[float] | None = None,
        global_losses: Sequence[str] | None = None,
        score_focal_logits: bool | None = None,
        score_map_weights: Sequence[float] | None = None,
        cls_ln_post: bool | None = None,
        object_word: str = "object",
        normal_filler: str = "N",
        abnormal_filler: str = "A",
    ) -> None:
        super().__init__(clip)
        _choose("variant", variant, ("official", "paper"))
        defaults = _PAPER if variant == "paper" else _OFFICIAL

        def setting(name: str, given: Any) -> Any:
            return defaults[name] if given is None else given

        check_layers(clip, dpam_layer, ())
        if not 1 <= num_prior_patches <= clip.grid**2:
            raise ValueError(f"num_prior_patches is {num_prior_patches}, outside 1 to {clip.grid**2} patches")
        self.dpam_layer, self.n_prior = dpam_layer, num_prior_patches
        self.temperature, self.sigma, self.half_cast = temperature, gaussian_sigma, deep_token_half_cast
        self.select = setting("dap_select", dap_select)
        self.ortho_weight: float = setting("ortho_weight", ortho_weight)
        self.prior_reduce = setting("prior_reduce", prior_reduce)
        self.local_weights: Sequence[float] = setting("local_weights", local_weights)
        self.global_losses: Sequence[str] = setting("global_losses", global_losses)
        self.score_focal_logits: bool = setting("score_focal_logits", score_focal_logits)
        self.score_map_weights: Sequence[float] = setting("score_map_weights", score_map_weights)
        self.cls_ln_post: bool = setting("cls_ln_post", cls_ln_post)
        _choose("dap_select", self.select, ("first_m", "top_m"))
        _choose("prior_reduce", self.prior_reduce, ("mean", "sum"))
        for name in self.global_losses:
            _choose("global_losses", name, ("ce", "score_focal"))
        state = setting("abnormal_state_word", abnormal_state_word)
        self.words = PromptWords(
            clip,
            n_ctx_pos=n_ctx_pos,
            n_ctx_neg=n_ctx_neg,
            n_abnormal=num_abnormal_prompts,
            words=(normal_filler, abnormal_filler, state, object_word),
            suffix=setting("prompt_suffix", prompt_suffix),
        )
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="after")
        width = clip.text_width
        self.patch_meta_net = PriorNetwork(num_prior_patches * clip.embed_dim, width)
        self.ctx_pos = nn.Parameter(nn.init.normal_(torch.empty(1, 1, n_ctx_pos, width), std=0.02))
        self.ctx_neg = nn.Parameter(nn.init.normal_(torch.empty(1, num_abnormal_prompts, n_ctx_neg, width), std=0.02))
        self.compound_prompts_text = deep_tables(deep_depth, deep_tokens, width)
        self._text_cache = ValueCache()
        self._unused: dict[str, Tensor] = {}

    def encode(self, batch: Batch) -> Features:
        """image (B, C) and patches (B, N, C), unit length."""
        layers = (self.clip.n_layers,)
        found = visual_features(
            self.clip, batch.images, layers, dpam_layer=self.dpam_layer, cls_ln_post=self.cls_ln_post
        )
        return {"image": found.image, "patches": found.patches[:, 0, 1:]}

    # Text

    def _encode(self, ids: Tensor, embeddings: Tensor) -> Tensor:
        return encode_prompts(self.clip, ids, embeddings, self.compound_prompts_text, half_cast=self.half_cast)

    def raw_text_without_prior(self) -> Tensor:
        """Text features (1 + K, C) of the normal and the abnormal prompts, not normalised."""
        ids = torch.cat([self.words.normal, self.words.abnormal])
        normal = normal_embeddings(self.clip, self.words, self.ctx_pos)
        return self._encode(
            ids, torch.cat([normal, abnormal_embeddings(self.clip, self.words, self.ctx_pos, self.ctx_neg)])
        )

    def _prior(self, patches: Tensor, probability: Tensor) -> Tensor:
        """Prior (B, W) from M patches (B, N, C) of each image."""
        if self.select == "first_m":
            chosen = patches[:, : self.n_prior]
        else:
            index = probability.topk(self.n_prior, dim=1).indices
            chosen = patches.gather(1, index.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
        prior: Tensor = self.patch_meta_net(chosen.detach().flatten(1))
        return prior

    def outputs(self, features: Features) -> Outputs:
        """Run both text passes: the prior-free one, and the one with each image's prior."""
        patches = features["patches"]
        n_images, k = len(patches), self.ctx_neg.shape[1]
        training = torch.is_grad_enabled()
        raw = self._text_cache.get(self.parameters(), self.raw_text_without_prior) if not training else None
        if training and self.select == "first_m":
            raw, normal_prior, abnormal_prior, prior = self._one_call(patches)
        else:
            raw = self.raw_text_without_prior() if raw is None else raw
            free = _directions(raw[:1], raw[1:])
            prior = self._prior(patches, abnormal_probability(patches, free, self.temperature).detach())
            normal_prior, abnormal_prior = self._encode_prior(prior, repeat_normal=training, normal=raw[:1])
        text = _directions(raw[:1], raw[1:])
        text_prior = _directions(normal_prior, abnormal_prior.reshape(n_images, k, -1))
        return Outputs(
            abnormal_raw=raw[1:],
            text=text,
            text_prior=text_prior,
            abnormal_prior_raw=abnormal_prior,
            prior=prior,
            patch=abnormal_probability(patches, text, self.temperature),
            patch_prior=abnormal_probability(patches, text_prior, self.temperature),
        )

    def _prior_inputs(self, prior: Tensor, *, repeat_normal: bool) -> tuple[Tensor, Tensor]:
        """Ids and embeddings of the prompts of every image; with the normal prompt once per image first, if asked."""
        n_images = len(prior)
        abnormal = abnormal_embeddings(self.clip, self.words, self.ctx_pos, self.ctx_neg, prior).flatten(0, 1)
        ids = self.words.abnormal.repeat(n_images, 1)
        if not repeat_normal:
            return ids, abnormal
        normal = normal_embeddings(self.clip, self.words, self.ctx_pos).expand(n_images, -1, -1)
        return torch.cat([self.words.normal.repeat(n_images, 1), ids]), torch.cat([normal, abnormal])

    def _encode_prior(self, prior: Tensor, *, repeat_normal: bool, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Normal (B, C) and abnormal (B, K, C) text features with prior.

        The normal prompt does not depend on the image. It is repeated for each one in training all the same: the
        authors round the gradient of every copy of the deep tokens to fp16, so the number of copies counts.
        """
        n_images = len(prior)
        ids, embeddings = self._prior_inputs(prior, repeat_normal=repeat_normal)
        raw = self._encode(ids, embeddings)
        if repeat_normal:
            normal, raw = raw[:n_images], raw[n_images:]
        return normal.expand(n_images, -1), raw.reshape(n_images, -1, raw.shape[-1])

    def _one_call(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both passes as one batch of sentences, where the prior does not depend on the first pass."""
        n_images = len(patches)
        prior = self._prior(patches, patches)
        ids, embeddings = self._prior_inputs(prior, repeat_normal=True)
        free_ids = torch.cat([self.words.normal, self.words.abnormal])
        free = torch.cat(
            [
                normal_embeddings(self.clip, self.words, self.ctx_pos),
                abnormal_embeddings(self.clip, self.words, self.ctx_pos, self.ctx_neg),
            ]
        )
        raw = self._encode(torch.cat([free_ids, ids]), torch.cat([free, embeddings]))
        n_free = len(free_ids)
        abnormal = raw[n_free + n_images :].reshape(n_images, -1, raw.shape[-1])
        return raw[:n_free], raw[n_free : n_free + n_images], abnormal, prior

    # What comes out

    def resized(self, probability: Tensor) -> Tensor:
        """Patch probabilities (B, N) at image size (B, S, S)."""
        grids = to_grid(probability.unsqueeze(-1), self.clip.grid)
        return resize_bilinear(grids, self.map_size, align_corners=False)[:, 0]

    def image_scores(self, features: Features, outputs: Outputs) -> Tensor:
        """(p + weighted map maxima) / 2, (B,): of patches, before resizing and smoothing."""
        p = abnormal_probability(features["image"].unsqueeze(1), outputs.text_prior, self.temperature)[:, 0]
        weights = self.score_map_weights
        maxima = weights[0] * outputs.patch.amax(dim=1) + weights[1] * outputs.patch_prior.amax(dim=1)
        return 0.5 * (p + maxima)

    def global_logits(self, features: Features, outputs: Outputs) -> Tensor:
        """Cosines of the image with its prompts over the temperature, (B, 2)."""
        return (outputs.text_prior @ features["image"].unsqueeze(-1)).squeeze(-1) / self.temperature

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Map losses without and with prior, image losses, orthogonality and prior loss."""
        return self.loss_terms(features, self.outputs(features), batch)

    def loss_terms(self, features: Features, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """All terms of the loss, weighted."""
        terms: dict[str, Tensor] = {}
        for name, weight, probability in (
            ("noprior", self.local_weights[0], outputs.patch),
            ("prior", self.local_weights[1], outputs.patch_prior),
        ):
            if weight:
                local = self.local_terms(self.resized(probability), batch)
                terms |= {f"{key}_{name}": weight * value.mean() for key, value in local.items()}
        if "ce" in self.global_losses:
            terms["image_cross_entropy"] = F.cross_entropy(self.global_logits(features, outputs), batch.labels)
        if "score_focal" in self.global_losses:
            scores = self.image_scores(features, outputs)
            terms["image_focal"] = score_focal(scores, batch.labels, logits=self.score_focal_logits)
        terms["orthogonality"] = self.ortho_weight * _overlap(outputs.abnormal_raw)
        squares = outputs.prior[batch.labels == 0].square()
        per_image = squares.mean(dim=1) if self.prior_reduce == "mean" else squares.sum(dim=1)
        return terms | {"prior": per_image.sum()}

    def local_terms(self, maps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Focal and dice losses per image (B,) of abnormal maps (B, S, S)."""
        masks = torch.zeros_like(maps) if batch.masks is None else batch.masks.to(maps)
        return {
            "focal": focal(1 - maps, maps, masks),
            "dice_abnormal": dice(maps, masks),
            "dice_normal": dice(1 - maps, 1 - masks),
        }

    def map_before_smoothing(self, outputs: Outputs) -> Tensor:
        """Mean of both abnormal maps, (B, S, S) in [0, 1]."""
        return self.resized(0.5 * (outputs.patch + outputs.patch_prior))

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Image score and smoothed map."""
        outputs = self.outputs(features)
        maps = smooth(self.map_before_smoothing(outputs).float(), self.sigma)
        return Prediction(self.image_scores(features, outputs).float(), maps)

    def load_official(self, path: str | Path) -> None:
        """Load epoch_N.pth of the authors' code."""
        learned, unused = split_official(read_official(path), self._official_ids(), where=str(path))
        load_strictly(self, learned, where=str(path))
        self._unused = unused

    def save_official(self, path: str | Path) -> None:
        """Write what the authors' code loads strictly."""
        n_learned = {"pos": self.words.n_shared, "neg": self.words.n_shared + self.words.n_own}
        buffers = frozen_token_buffers(self.clip, self._official_ids(), n_learned)
        write_official(path, self.learnable_state() | buffers, self._unused, len(self.compound_prompts_text))

    def _official_ids(self) -> dict[str, Tensor]:
        return {"pos": self.words.normal, "neg": self.words.abnormal}


def _directions(normal: Tensor, abnormal: Tensor) -> Tensor:
    """Unit vectors (..., 2, C) of normal (..., C) and of the mean of abnormal (..., K, C), taken before normalising."""
    normal = normal[0] if abnormal.dim() == 2 else normal
    return torch.stack([unit(normal), unit(abnormal.mean(dim=-2))], dim=-2)


def _overlap(features: Tensor) -> Tensor:
    """Sum over pairs i < j of the absolute cosine between rows of (K, C)."""
    cosines = unit(features) @ unit(features).T
    return cosines.triu(diagonal=1).abs().sum()


def _choose(name: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, not one of {', '.join(map(repr, choices))}")
