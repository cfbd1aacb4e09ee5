"""FAPrompt: K fine-grained abnormal prompts, adapted to each image by a prior from its patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.base import Features, Method, Prediction
from adbench.methods.faprompt.passes import RawText, passes_in_testing, passes_in_training
from adbench.methods.faprompt.prompts import PromptLearner, PromptWords
from adbench.methods.faprompt.settings import BY_VARIANT, FaPromptSettings
from adbench.methods.learned_prompts import (
    ValueCache,
    abnormal_probability,
    check_dpam_layer,
    frozen_token_buffers,
    load_learner,
    visual_features,
    write_official,
)
from adbench.methods.losses import map_losses, n_known, score_focal
from adbench.methods.maps import patch_maps, smoothed_patch_maps
from adbench.methods.registry import register
from adbench.methods.variants import by_variant
from adbench.methods.weights import load_strictly


@dataclass(frozen=True, slots=True)
class FaPromptOutputs:
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
    """FAPrompt, learned on auxiliary data and applied to unseen classes."""

    settings_class = FaPromptSettings
    features_suffice = True
    scoring_only = frozenset({"gaussian_sigma"})

    def __init__(self, clip: Clip, settings: FaPromptSettings) -> None:
        super().__init__(clip)
        self.settings = chosen = by_variant(settings, BY_VARIANT)
        check_dpam_layer(clip, chosen.dpam_layer)
        if chosen.num_prior_patches > clip.grid**2:
            raise ValueError(f"num_prior_patches is {chosen.num_prior_patches}, outside 1 to {clip.grid**2} patches")
        if not chosen.score_focal_logits and sum(chosen.score_map_weights) > 1 + 1e-6:
            raise ValueError(
                f"score_map_weights sum to {sum(chosen.score_map_weights):g}: the image score is no probability "
                "then, which score_focal_logits=false needs"
            )
        if any(chosen.local_weights):
            self.learns_from_masks = "also" if chosen.global_losses else "only"
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="after")
        self.prompt_learner = PromptLearner(clip, PromptWords(clip, chosen), chosen)
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
        image, patches = visual_features(self.clip, batch.images, layers, **self.feature_settings())
        return {"image": image, "patches": patches[:, 0, 1:]}

    def feature_settings(self) -> dict[str, Any]:
        """What decides the features."""
        return {"dpam_layer": self.settings.dpam_layer, "cls_ln_post": self.settings.cls_ln_post}

    def chosen_patches(self, patches: Tensor, probability: Tensor) -> Tensor:
        """The M patch features (B, M, C) that make the prior, of (B, N, C), by their abnormal probability (B, N)."""
        if self.settings.dap_select == "first_m":
            return patches[:, : self.settings.num_prior_patches]
        index = probability.topk(self.settings.num_prior_patches, dim=1).indices
        return patches.gather(1, index.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))

    def outputs(self, features: Features) -> FaPromptOutputs:
        """Run both text passes: the prior-free one, and the one with each image's prior."""
        patches, learner = features["patches"], self.prompt_learner

        def prior_of(normal: Tensor, abnormal: Tensor) -> Tensor:
            probability = abnormal_probability(patches, _directions(normal, abnormal), self.settings.temperature)
            return learner.prior(self.chosen_patches(patches, probability.detach()))

        known = self.settings.dap_select == "first_m"
        prior = learner.prior(patches[:, : self.settings.num_prior_patches]) if known else prior_of
        if torch.is_grad_enabled():
            raw = passes_in_training(self.clip, learner, len(patches), prior)
        else:
            raw = passes_in_testing(self.clip, learner, patches.shape[0], prior, self._text_cache)
        text = _directions(raw.normal[0], raw.abnormal)
        text_prior = _directions(raw.normal[1:], raw.abnormal_prior)
        return FaPromptOutputs(
            raw=raw,
            text=text,
            text_prior=text_prior,
            patch=abnormal_probability(patches, text, self.settings.temperature),
            patch_prior=abnormal_probability(patches, text_prior, self.settings.temperature),
        )

    def resized(self, probability: Tensor) -> Tensor:
        """Patch probabilities (B, N) at image size (B, S, S)."""
        return patch_maps(probability.unsqueeze(1), self.map_size, align_corners=False)[:, 0]

    def global_logits(self, features: Features, outputs: FaPromptOutputs) -> Tensor:
        """Cosines of the image with its prompts over the temperature, (B, 2)."""
        logits: Tensor = (outputs.text_prior @ features["image"].unsqueeze(-1)).squeeze(-1) / self.settings.temperature
        return logits

    def image_scores(self, features: Features, outputs: FaPromptOutputs) -> Tensor:
        """(p + weighted map maxima) / 2, (B,): of patches, before resizing and smoothing."""
        p = self.global_logits(features, outputs).softmax(dim=-1)[:, 1]
        without, with_prior = self.settings.score_map_weights
        scores: Tensor = 0.5 * (p + without * outputs.patch.amax(dim=1) + with_prior * outputs.patch_prior.amax(dim=1))
        return scores

    # Training

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Map losses without and with prior, image losses, orthogonality and prior loss, weighted."""
        outputs, settings = self.outputs(features), self.settings
        terms: dict[str, Tensor] = {}
        maps = {"noprior": outputs.patch, "prior": outputs.patch_prior}
        for weight, (name, probability) in zip(settings.local_weights, maps.items(), strict=True):
            if weight:
                local = self.local_terms(self.resized(probability), batch)
                terms |= {f"{key}_{name}": weight * value for key, value in local.items()}
        image = self.image_terms(features, outputs, batch)
        terms |= {f"image_{name}": image[name] for name in settings.global_losses}
        terms["orthogonality"] = settings.ortho_weight * overlap(outputs.raw.abnormal)
        return terms | {"prior": self.prior_term(outputs, batch)}

    def term_count(self, name: str, batch: Batch) -> int | None:
        """Terms of the maps are means over the images whose masks are known; the prior is a sum over normal images."""
        if name == "prior":
            return None
        return n_known(batch) if name.startswith(("focal_", "dice_")) else len(batch)

    def local_terms(self, maps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Focal and dice losses of abnormal maps (B, S, S) before weighting, of images whose masks are known."""
        terms = map_losses(maps.unsqueeze(1), 1 - maps.unsqueeze(1), batch)
        return {key.removeprefix("pixel_"): value.mean() for key, value in terms.items()}

    def image_terms(self, features: Features, outputs: FaPromptOutputs, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the image's logits, focal loss of its score."""
        scores = self.image_scores(features, outputs)
        return {
            "ce": F.cross_entropy(self.global_logits(features, outputs), batch.labels),
            "score_focal": score_focal(scores, batch.labels, logits=self.settings.score_focal_logits),
        }

    def prior_term(self, outputs: FaPromptOutputs, batch: Batch) -> Tensor:
        """The squared prior of the batch's normal images, summed over them: it grows with their number."""
        squares = outputs.raw.prior[batch.labels == 0].square()
        return (squares.mean(dim=1) if self.settings.prior_reduce == "mean" else squares.sum(dim=1)).sum()

    # Testing

    def map_before_smoothing(self, outputs: FaPromptOutputs) -> Tensor:
        """Mean of both abnormal maps, (B, S, S) in [0, 1]."""
        return self.resized(0.5 * (outputs.patch + outputs.patch_prior))

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Image score and smoothed map."""
        outputs = self.outputs(features)
        mean, sigma = 0.5 * (outputs.patch + outputs.patch_prior).float(), self.settings.gaussian_sigma
        maps = smoothed_patch_maps(mean, self.map_size, sigma, align_corners=False)
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
    return F.normalize(torch.stack([normal, abnormal.mean(dim=-2)], dim=-2), dim=-1)


def overlap(features: Tensor) -> Tensor:
    """Sum over pairs i < j of the absolute cosine between rows of (K, C)."""
    directions = F.normalize(features, dim=-1)
    return (directions @ directions.T).triu(diagonal=1).abs().sum()
