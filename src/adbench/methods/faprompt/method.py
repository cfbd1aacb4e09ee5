"""FAPrompt: K fine-grained abnormal prompts, adapted to each image by a prior from its patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.base import Features, Method, Prediction, load_strictly
from adbench.methods.faprompt.passes import RawText, passes_in_testing, passes_in_training
from adbench.methods.faprompt.prompts import PromptLearner, PromptWords
from adbench.methods.faprompt.settings import DapSelect, GlobalLoss, PriorReduce, Variant, resolve
from adbench.methods.learned_prompts import (
    ValueCache,
    abnormal_probability,
    check_layers,
    frozen_token_buffers,
    load_learner,
    unit,
    visual_features,
    write_official,
)
from adbench.methods.losses import dice, focal, known_masks, score_focal
from adbench.methods.maps import resize_bilinear, smooth, to_grid
from adbench.methods.registry import register
from adbench.typed import Few, Length, NonNegativeFloat, PositiveFloat, PositiveInt, Sigma


@dataclass(frozen=True, slots=True)
class Outputs:
    """Text features and patch probabilities of a batch.

    raw                 text features that are not normalised, and the prior
    text, text_prior    (2, C) and (B, 2, C): normal and mean abnormal direction, without and with the images' prior
    patch, patch_prior  (B, N) abnormal probability of each patch against text and text_prior
    """

    raw: RawText
    text: Tensor
    text_prior: Tensor
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

    features_suffice = True
    scoring_only = frozenset({"gaussian_sigma"})

    def __init__(
        self,
        clip: Clip,
        *,
        variant: Variant = "official",
        n_ctx_pos: Few = 5,
        n_ctx_neg: Few = 2,
        num_abnormal_prompts: Few = 10,
        num_prior_patches: PositiveInt = 10,
        deep_depth: Few = 9,
        deep_tokens: Few = 4,
        dpam_layer: PositiveInt = 20,
        temperature: PositiveFloat = 0.07,
        gaussian_sigma: Sigma = 10.0,
        deep_token_half_cast: bool = True,
        dap_select: DapSelect | None = None,
        abnormal_state_word: str | None = None,
        prompt_suffix: str | None = None,
        ortho_weight: NonNegativeFloat | None = None,
        prior_reduce: PriorReduce | None = None,
        local_weights: Annotated[Sequence[NonNegativeFloat], Length(2)] | None = None,
        global_losses: Sequence[GlobalLoss] | None = None,
        score_focal_logits: bool | None = None,
        score_map_weights: Annotated[Sequence[NonNegativeFloat], Length(2)] | None = None,
        cls_ln_post: bool | None = None,
        object_word: str = "object",
        normal_filler: str = "N",
        abnormal_filler: str = "A",
    ) -> None:
        super().__init__(clip)
        self.switches = resolve(
            variant,
            dap_select=dap_select,
            abnormal_state_word=abnormal_state_word,
            prompt_suffix=prompt_suffix,
            ortho_weight=ortho_weight,
            prior_reduce=prior_reduce,
            local_weights=local_weights,
            global_losses=global_losses,
            score_focal_logits=score_focal_logits,
            score_map_weights=score_map_weights,
            cls_ln_post=cls_ln_post,
        )
        check_layers(clip, dpam_layer, ())
        if num_prior_patches > clip.grid**2:
            raise ValueError(f"num_prior_patches is {num_prior_patches}, outside 1 to {clip.grid**2} patches")
        if any(self.switches.local_weights):
            self.learns_from_masks = "also" if self.switches.global_losses else "only"
        self.dpam_layer, self.n_prior = dpam_layer, num_prior_patches
        self.temperature, self.sigma = temperature, gaussian_sigma
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="after")
        words = PromptWords(
            clip,
            n_ctx_pos=n_ctx_pos,
            n_ctx_neg=n_ctx_neg,
            n_abnormal=num_abnormal_prompts,
            words=(normal_filler, abnormal_filler, self.switches.abnormal_state_word, object_word),
            suffix=self.switches.prompt_suffix,
        )
        self.prompt_learner = PromptLearner(
            clip,
            words,
            n_prior_patches=num_prior_patches,
            deep_depth=deep_depth,
            deep_tokens=deep_tokens,
            half_cast=deep_token_half_cast,
        )
        self._text_cache = ValueCache()
        self._unused: dict[str, Tensor] = {}

    # What is learned goes by the authors' names, without the name of the module that holds it

    def learnable_state(self) -> dict[str, Tensor]:
        """Everything learned, by the authors' checkpoint names."""
        return {key: value.detach() for key, value in self.prompt_learner.state_dict().items()}

    def load_learnable_state(self, state: Mapping[str, Tensor]) -> None:
        """Load what `learnable_state` returned."""
        load_strictly(self.prompt_learner, state)

    def learnable_parameters(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by the authors' names."""
        return dict(self.prompt_learner.named_parameters())

    # From images to text features and patch probabilities

    def encode(self, batch: Batch) -> Features:
        """image (B, C) and patches (B, N, C), unit length."""
        layers = (self.clip.n_layers,)
        found = visual_features(
            self.clip, batch.images, layers, dpam_layer=self.dpam_layer, cls_ln_post=self.switches.cls_ln_post
        )
        return {"image": found.image, "patches": found.patches[:, 0, 1:]}

    def feature_settings(self) -> Mapping[str, Any]:
        """What decides the features."""
        return {"dpam_layer": self.dpam_layer, "cls_ln_post": self.switches.cls_ln_post}

    def chosen_patches(self, patches: Tensor, probability: Tensor) -> Tensor:
        """The M patch features (B, M, C) that make the prior, of (B, N, C), by their abnormal probability (B, N)."""
        if self.switches.dap_select == "first_m":
            return patches[:, : self.n_prior]
        index = probability.topk(self.n_prior, dim=1).indices
        return patches.gather(1, index.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))

    def outputs(self, features: Features) -> Outputs:
        """Run both text passes: the prior-free one, and the one with each image's prior."""
        patches, learner = features["patches"], self.prompt_learner

        def prior_of(normal: Tensor, abnormal: Tensor) -> Tensor:
            probability = abnormal_probability(patches, _directions(normal, abnormal), self.temperature)
            return learner.prior(self.chosen_patches(patches, probability.detach()))

        known = self.switches.dap_select == "first_m"
        prior = learner.prior(patches[:, : self.n_prior]) if known else prior_of
        if torch.is_grad_enabled():
            raw = passes_in_training(self.clip, learner, len(patches), prior)
        else:
            raw = passes_in_testing(self.clip, learner, len(patches), prior, self._text_cache)
        text = _directions(raw.normal[0], raw.abnormal)
        text_prior = _directions(raw.normal[1:], raw.abnormal_prior)
        return Outputs(
            raw=raw,
            text=text,
            text_prior=text_prior,
            patch=abnormal_probability(patches, text, self.temperature),
            patch_prior=abnormal_probability(patches, text_prior, self.temperature),
        )

    def resized(self, probability: Tensor) -> Tensor:
        """Patch probabilities (B, N) at image size (B, S, S)."""
        grids = to_grid(probability.unsqueeze(-1), self.clip.grid)
        return resize_bilinear(grids, self.map_size, align_corners=False)[:, 0]

    def global_logits(self, features: Features, outputs: Outputs) -> Tensor:
        """Cosines of the image with its prompts over the temperature, (B, 2)."""
        return (outputs.text_prior @ features["image"].unsqueeze(-1)).squeeze(-1) / self.temperature

    def image_scores(self, features: Features, outputs: Outputs) -> Tensor:
        """(p + weighted map maxima) / 2, (B,): of patches, before resizing and smoothing."""
        p = self.global_logits(features, outputs).softmax(dim=-1)[:, 1]
        weights = self.switches.score_map_weights
        return 0.5 * (p + weights[0] * outputs.patch.amax(dim=1) + weights[1] * outputs.patch_prior.amax(dim=1))

    # Training

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Map losses without and with prior, image losses, orthogonality and prior loss, weighted."""
        outputs, switches = self.outputs(features), self.switches
        terms: dict[str, Tensor] = {}
        maps = {"noprior": outputs.patch, "prior": outputs.patch_prior}
        for weight, (name, probability) in zip(switches.local_weights, maps.items(), strict=True):
            if weight:
                local = self.local_terms(self.resized(probability), batch)
                terms |= {f"{key}_{name}": weight * value for key, value in local.items()}
        image = self.image_terms(features, outputs, batch)
        terms |= {f"image_{name}": image[name] for name in switches.global_losses}
        terms["orthogonality"] = switches.ortho_weight * overlap(outputs.raw.abnormal)
        return terms | {"prior": self.prior_term(outputs, batch)}

    def local_terms(self, maps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Focal and dice losses of abnormal maps (B, S, S) before weighting, of images whose masks are known."""
        known = known_masks(batch)
        if known is None:
            return {}
        rows, masks = known[0], known[1].to(maps)
        maps = maps[rows]
        return {
            "focal": focal(1 - maps, maps, masks).mean(),
            "dice_abnormal": dice(maps, masks).mean(),
            "dice_normal": dice(1 - maps, 1 - masks).mean(),
        }

    def image_terms(self, features: Features, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the image's logits, focal loss of its score."""
        scores = self.image_scores(features, outputs)
        return {
            "ce": F.cross_entropy(self.global_logits(features, outputs), batch.labels),
            "score_focal": score_focal(scores, batch.labels, logits=self.switches.score_focal_logits),
        }

    def prior_term(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The squared prior of the batch's normal images, summed over them: it grows with their number."""
        squares = outputs.raw.prior[batch.labels == 0].square()
        return (squares.mean(dim=1) if self.switches.prior_reduce == "mean" else squares.sum(dim=1)).sum()

    # Testing

    def map_before_smoothing(self, outputs: Outputs) -> Tensor:
        """Mean of both abnormal maps, (B, S, S) in [0, 1]."""
        return self.resized(0.5 * (outputs.patch + outputs.patch_prior))

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Image score and smoothed map."""
        outputs = self.outputs(features)
        maps = smooth(self.map_before_smoothing(outputs).float(), self.sigma)
        return Prediction(self.image_scores(features, outputs).float(), maps)

    # The authors' checkpoints

    def load_official(self, path: str | Path) -> None:
        """Load epoch_N.pth of the authors' code."""
        self._unused = load_learner(self.prompt_learner, path, self._frozen_tokens())

    def save_official(self, path: str | Path) -> None:
        """Write what the authors' code loads strictly."""
        write_official(path, self.learnable_state(), self._frozen_tokens(), self._unused)

    def _frozen_tokens(self) -> dict[str, Tensor]:
        words = self.prompt_learner.words
        n_learned = {"pos": words.n_shared, "neg": words.n_shared + words.n_own}
        return frozen_token_buffers(self.clip, {"pos": words.normal, "neg": words.abnormal}, n_learned)


def _directions(normal: Tensor, abnormal: Tensor) -> Tensor:
    """Unit vectors (..., 2, C) of normal (..., C) and of the mean of abnormal (..., K, C), taken before normalising."""
    return torch.stack([unit(normal), unit(abnormal.mean(dim=-2))], dim=-2)


def overlap(features: Tensor) -> Tensor:
    """Sum over pairs i < j of the absolute cosine between rows of (K, C)."""
    cosines = unit(features) @ unit(features).T
    return cosines.triu(diagonal=1).abs().sum()
