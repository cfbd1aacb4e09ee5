"""AdaCLIP: which parts are frozen, which are learned, how they give scores, maps and losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip, TextInput
from adbench.clip.prompts import ADACLIP_ENSEMBLE, encode_ensemble, state_directions
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError
from adbench.methods.adaclip.fusion import fuse, stream_of
from adbench.methods.adaclip.learnables import Learnables, Prompter
from adbench.methods.adaclip.prompting import Prompts, text_pass, visual_pass
from adbench.methods.adaclip.settings import BY_VARIANT, AdaClipSettings
from adbench.methods.base import Features, Method, Prediction
from adbench.methods.losses import focal, map_losses, n_known
from adbench.methods.maps import patch_maps, smooth
from adbench.methods.registry import register
from adbench.methods.variants import by_variant
from adbench.methods.weights import load_strictly, save_torch
from adbench.weight_files import read_state


@dataclass(frozen=True, slots=True)
class AdaClipOutputs:
    """Everything between the features and the predictions of a batch; None where a setting leaves it out.

    patch_tokens   (B, layers, 1 + N, V) raw block outputs, class token first, prompts removed
    pooled         (B, C) class token's feature of the (prompted) pass, not normalised
    proj_patch     (B, layers, N, C) and proj_cls (B, C), projected by the heads, unit length
    text           (B, C, 2) directions of the normal and the abnormal state
    layer_logits   (B, layers, N, 2) temperature x cosine
    hsf            (B, C) HSF feature before it is blended with proj_cls
    image_logits   (B, 2)
    """

    dynamic_visual: Tensor | None
    dynamic_text: Tensor | None
    patch_tokens: Tensor
    pooled: Tensor
    proj_patch: Tensor
    proj_cls: Tensor
    text: Tensor
    layer_logits: Tensor
    hsf: Tensor | None
    image_logits: Tensor


@register("adaclip")
class AdaClip(Method):
    """AdaCLIP with hybrid (static + dynamic) prompts in the visual and the language branch."""

    settings_class = AdaClipSettings
    scores_are_probabilities = True
    scoring_only = frozenset({"gaussian_sigma", "use_hsf", "kmeans"})
    learns_from_masks = "also"

    def __init__(self, clip: Clip, settings: AdaClipSettings) -> None:
        super().__init__(clip)
        self.settings = chosen = by_variant(settings, BY_VARIANT)
        quarter = clip.n_layers // 4
        self.layers = tuple(chosen.output_layers or range(quarter, 4 * quarter + 1, quarter))
        _in_range("prompting_depth", chosen.prompting_depth, 1, max(clip.n_layers, clip.n_text_layers))
        _in_range("prompting_length", chosen.prompting_length, 1, clip.context_length - 2)
        if chosen.use_hsf:
            _in_range("k_clusters", chosen.k_clusters, 1, clip.grid**2)
        for layer in self.layers:
            _in_range("output_layers", layer, 1, clip.n_layers)
        if clip.text_width != clip.embed_dim:
            raise ValueError(f"AdaCLIP needs text width = embedding width, not {clip.text_width} and {clip.embed_dim}")

        self.static, self.dynamic = ("S" in chosen.prompting_type, "D" in chosen.prompting_type)
        self.prompts_visual = bool(chosen.prompting_type) and "V" in chosen.prompting_branch
        self.prompts_text = bool(chosen.prompting_type) and "L" in chosen.prompting_branch
        self.keeps_features = self.prompts_visual and self.dynamic  # the pass that dynamic prompts are made from
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="before")
        is_running = chosen.kmeans_stream == "running"
        if is_running and chosen.kmeans == "batched":
            raise ValueError("kmeans=batched draws no random numbers: leave out kmeans_stream=running")
        self.random_state = np.random.RandomState(chosen.kmeans_seed) if is_running else None
        if chosen.use_hsf and is_running:
            self.remarks = ("k-means draws from one running stream: scores depend on the order of the images",)
        if chosen.use_hsf and chosen.kmeans == "batched":
            self.remarks = ("k-means without random numbers (method.kmeans=batched): other image scores",)
        self._token_ids: dict[str, Tensor] = {}
        self._plain_text: dict[str, Tensor] = {}
        self._begun: TextInput | None = None  # what the first text block has last given
        # The attribute's name is the prefix of every key in the authors' checkpoints.
        self.clip_model = Learnables(
            depth=chosen.prompting_depth,
            length=chosen.prompting_length,
            static_text=self.prompts_text and self.static,
            static_visual=self.prompts_visual and self.static,
            dynamic=self.dynamic,
            n_layers=len(self.layers),
            vision_width=clip.vision_width,
            embed_dim=clip.embed_dim,
        )
        # Words see no prompts before the second block, no tower any behind its last, and a branch that is not prompted
        # no dynamic ones.
        idle = ["clip_model.text_prompter.static_prompts.0"]
        for branch, blocks in (("text", clip.n_text_layers), ("visual", clip.n_layers)):
            idle += [f"clip_model.{branch}_prompter.static_prompts.{n}" for n in range(blocks, chosen.prompting_depth)]
        idle += [] if self.prompts_visual else ["clip_model.dynamic_visual"]
        idle += [] if self.prompts_text and chosen.prompting_depth > 1 else ["clip_model.dynamic_text"]
        self.without_gradient = [name for name in self.learnable_parameters() if name.startswith(tuple(idle))]

    # Frozen stage

    @torch.no_grad()
    def encode(self, batch: Batch) -> Features:
        """Pooled feature of the un-prompted pass, and whatever of both towers no prompt will change."""
        features: dict[str, Tensor] = {}
        if not self.prompts_visual:
            features["patch_tokens"], features["pooled"] = visual_pass(self.clip, batch.images, self.layers, None)
        elif self.dynamic:
            features["pooled"] = self.clip.encode_image(batch.images)
        if not self.prompts_text:
            features["text"] = torch.stack([self._text_without_prompts(name) for name in batch.class_names])
        return features

    @classmethod
    def require_graph(cls, hyperparameters: Mapping[str, Any]) -> None:
        """None with k-means of the patches. Without it maps are the same, and image scores others."""
        if hyperparameters["use_hsf"]:
            what = "its k-means (method.use_hsf) clusters the patches of each picture, which no graph does"
            hint = "add method.use_hsf=false: the same maps, and image scores without the feature of the clusters"
            raise UserError(what, where=f"method {cls.name}", hint=hint)

    def prompt_words(self, class_name: str) -> str:
        """The class name with spaces for hyphens."""
        return prompt_name(class_name)

    def token_ids(self, class_name: str) -> Tensor:
        """Ids (48, 77) of the 28 normal and 20 abnormal sentences about a class."""
        if class_name not in self._token_ids:
            normal, abnormal = ADACLIP_ENSEMBLE.sentences(prompt_name(class_name))
            self._token_ids[class_name] = self.clip.tokenize(normal + abnormal)
        return self._token_ids[class_name]

    def _text_without_prompts(self, class_name: str) -> Tensor:
        if class_name not in self._plain_text:
            self._plain_text[class_name] = encode_ensemble(self.clip, ADACLIP_ENSEMBLE, prompt_name(class_name))
        return F.normalize(self._plain_text[class_name], dim=0).to(self.clip.device)

    # Learnable stage

    def outputs(self, features: Features, batch: Batch) -> AdaClipOutputs:
        """Run everything learnable on a batch."""
        parts, settings = self.clip_model, self.settings
        dynamic_visual = dynamic_text = None
        if self.dynamic:
            dynamic_visual = parts.dynamic_visual_prompt_generator(features["pooled"])  # (B, L, V)
            dynamic_text = parts.dynamic_text_prompt_generator(features["pooled"])  # (B, L, C)
        if self.prompts_visual:
            prompts = self._prompts(parts.visual_prompter, dynamic_visual)
            patch_tokens, pooled = visual_pass(self.clip, batch.images, self.layers, prompts)
        else:
            patch_tokens, pooled = features["patch_tokens"], features["pooled"]
        text = self._text_pass(batch.class_names, dynamic_text) if self.prompts_text else features["text"]

        heads = parts.patch_token_layer.head
        projected = [head(tokens) for head, tokens in zip(heads, patch_tokens[:, :, 1:].unbind(1), strict=True)]
        proj_patch = torch.stack([F.normalize(p, dim=-1) for p in projected], dim=1)  # (B, layers, N, C)
        proj_cls = F.normalize(parts.cls_token_layer(pooled)[:, 0], dim=-1)
        layer_logits = settings.temperature * proj_patch @ text.unsqueeze(1)  # (B, layers, N, 2)
        image, hsf = proj_cls, None
        if settings.use_hsf:
            selection = layer_logits.mean(dim=1).softmax(dim=-1)[..., 1]
            hsf = fuse(proj_patch, selection, settings.k_clusters, settings.hsf_variant, self._streams(batch))
            image = F.normalize(settings.hsf_alpha * hsf + (1 - settings.hsf_alpha) * proj_cls, dim=-1)
        return AdaClipOutputs(
            dynamic_visual=dynamic_visual,
            dynamic_text=dynamic_text,
            patch_tokens=patch_tokens,
            pooled=pooled,
            proj_patch=proj_patch,
            proj_cls=proj_cls,
            text=text,
            layer_logits=layer_logits,
            hsf=hsf,
            image_logits=settings.temperature * (image.unsqueeze(1) @ text).squeeze(1),
        )

    def _streams(self, batch: Batch) -> Sequence[np.random.RandomState] | None:
        """What each image's k-means draws from; None where it draws nothing."""
        if self.settings.kmeans == "batched":
            return None
        if self.random_state is not None:
            return [self.random_state] * len(batch)
        return [stream_of(image, self.settings.kmeans_seed) for image in batch.images.cpu()]

    def _prompts(self, prompter: Prompter, dynamic: Tensor | None) -> Prompts:
        settings = self.settings
        return Prompts(
            list(prompter.static_prompts),
            dynamic,
            settings.prompting_depth,
            settings.prompting_length,
            settings.prompt_fp16_rounding,
        )

    def _text_pass(self, class_names: Sequence[str], dynamic: Tensor | None) -> Tensor:
        """State directions (B, C, 2) through the prompted text tower, all sentences of the batch in one call.

        Without dynamic prompts they depend on the class alone and are computed once per class of the batch.
        """
        unique = sorted(set(class_names))
        place = torch.tensor([unique.index(name) for name in class_names], device=self.clip.device)
        ids = torch.stack([self.token_ids(name) for name in unique])  # (U, 48, 77)
        n_sentences = ids.shape[1]
        if self._begun is None or not torch.compiler.is_exporting():  # in a graph it is a constant
            with torch.no_grad():  # the first text block is never prompted
                text = self.clip.embed_text(ids.flatten(0, 1), min_length=self.settings.prompting_length + 2)
                self._begun = self.clip.first_text_blocks(text, 1)
        tokens, end = self._begun.tokens, self._begun.end
        if dynamic is not None:
            place = place.expand(dynamic.shape[0])
            tokens = tokens.unflatten(0, (len(unique), n_sentences))[place].flatten(0, 1)  # (B * 48, T, C)
            end = end.unflatten(0, (len(unique), n_sentences))[place].flatten()
        prompts = self._prompts(self.clip_model.text_prompter, dynamic)
        sentences = text_pass(self.clip, TextInput(tokens, end), prompts)
        n_normal = len(ADACLIP_ENSEMBLE.normal) * len(ADACLIP_ENSEMBLE.templates)
        directions = state_directions(sentences.unflatten(0, (-1, n_sentences)), n_normal)
        directions = F.normalize(directions, dim=1)
        return directions if dynamic is not None else directions[place]

    # What comes out

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Focal loss on the image score; focal and dice losses on each layer's map, summed over the layers."""
        terms = self.loss_terms(self.outputs(features, batch), batch)
        return {name: value.mean(dim=0).sum() for name, value in terms.items()}

    def term_count(self, name: str, batch: Batch) -> int:
        """Terms of the maps are means over the images whose masks are known."""
        return len(batch) if name == "image_focal" else n_known(batch)

    def loss_terms(self, outputs: AdaClipOutputs, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss per image: (B,) for the image score, (n, layers) for the maps of those with known masks."""
        image = outputs.image_logits.softmax(dim=-1)
        abnormal, normal = self.layer_probabilities(outputs)
        return {
            "image_focal": focal(image[:, :1], image[:, 1:], batch.labels[:, None]),
            **map_losses(abnormal, normal, batch, rows=self.settings.dice_mode == "rows"),
        }

    def layer_probabilities(self, outputs: AdaClipOutputs) -> tuple[Tensor, Tensor]:
        """Maps (B, layers, S, S) of the abnormal and the normal state, softmax per layer, as trained on."""
        difference = outputs.layer_logits[..., 1] - outputs.layer_logits[..., 0]  # (B, layers, N)
        # A softmax over two channels is the sigmoid of their difference, and resizing is linear: half the work.
        logits = patch_maps(difference, self.map_size, align_corners=True)
        return logits.sigmoid(), (-logits).sigmoid()

    def map_before_smoothing(self, outputs: AdaClipOutputs) -> Tensor:
        """Anomaly map (B, S, S) in [0, 1]: softmax of the layers' mean logits."""
        logits = outputs.layer_logits.mean(dim=1)
        difference = (logits[..., 1] - logits[..., 0]).unsqueeze(1)  # (B, 1, N)
        return patch_maps(difference, self.map_size, align_corners=True)[:, 0].sigmoid()

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Probability of the abnormal state for each image, and the smoothed map."""
        outputs = self.outputs(features, batch)
        scores = outputs.image_logits.float().softmax(dim=-1)[:, 1]
        return Prediction(scores, smooth(self.map_before_smoothing(outputs).float(), self.settings.gaussian_sigma))

    def load_official(self, path: str | Path) -> None:
        """Load a checkpoint of the authors' code: one flat dict, e.g. pretrained_mvtec_colondb.pth."""
        load_strictly(self, read_state(Path(path)), where=str(path))

    def save_official(self, path: str | Path) -> None:
        """Write the flat dict that the authors' code loads."""
        save_torch(path, self.learnable_state())


def prompt_name(class_name: str) -> str:
    """The class name as it enters sentences: hyphens become spaces, nothing else changes."""
    return class_name.replace("-", " ")


def _in_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, outside {low} to {high} for this backbone and image size")
