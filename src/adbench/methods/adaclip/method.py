"""AdaCLIP: which parts are frozen, which are learned, how they give scores, maps and losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.atomic import replacing
from adbench.clip import Clip, TextInput
from adbench.clip.prompts import ADACLIP_ENSEMBLE, encode_ensemble, state_directions
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.adaclip.fusion import HsfVariant, KmeansStream, fuse, stream_of
from adbench.methods.adaclip.learnables import Learnables
from adbench.methods.adaclip.outputs import Outputs
from adbench.methods.adaclip.prompting import Prompting
from adbench.methods.base import Features, Method, Prediction, load_strictly
from adbench.methods.losses import dice, focal, known_masks
from adbench.methods.maps import resize_bilinear, smooth, to_grid
from adbench.methods.registry import register
from adbench.typed import NonEmpty, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Sigma
from adbench.weight_files import read_state


@register("adaclip")
class AdaClip(Method):
    """AdaCLIP with hybrid (static + dynamic) prompts in the visual and the language branch.

    prompting_depth       J: prompts enter the first J blocks (text: blocks 2 to J), as far as a tower has them
    prompting_length      L: tokens per prompt
    prompting_type        "SD" static + dynamic, "S", "D", or "" for no prompts
    prompting_branch      "VL" both towers, "V", "L", or "" for none
    variant               "official" follows the authors' code, "paper" the text: HSF of the best cluster, unblended
    use_hsf, k_clusters   hybrid semantic fusion and its number of clusters
    hsf_variant           "official" | "paper"; None: as `variant`
    hsf_alpha             weight of the HSF feature against the class token; None: 0.2, or 1 in the paper variant
    kmeans_stream         "image": k-means of an image draws from a stream of its own, a hash of kmeans_seed and the
                          pixels; "running": from one stream for all, as the authors' code does, so that a score depends
                          on what was scored before
    output_layers         blocks (from 1) whose patch tokens are used; None: at each quarter of the tower
    temperature           factor on cosines
    gaussian_sigma        smoothing of the final map in pixels
    dice_mode             "rows" (official: each pixel row is a sample) or "image"
    prompt_fp16_rounding  round prompts to fp16 as the authors' code does even on CPU
    """

    scoring_only = frozenset({"gaussian_sigma"})
    learns_from_masks = "also"

    def __init__(
        self,
        clip: Clip,
        *,
        variant: Literal["official", "paper"] = "official",
        prompting_depth: PositiveInt = 4,
        prompting_length: PositiveInt = 5,
        prompting_type: Literal["SD", "S", "D", ""] = "SD",
        prompting_branch: Literal["VL", "V", "L", ""] = "VL",
        use_hsf: bool = True,
        k_clusters: PositiveInt = 20,
        hsf_variant: HsfVariant | None = None,
        hsf_alpha: NonNegativeFloat | None = None,
        kmeans_stream: KmeansStream = "image",
        kmeans_seed: NonNegativeInt = 111,
        output_layers: Annotated[Sequence[PositiveInt], NonEmpty] | None = None,
        temperature: PositiveFloat = 100.0,
        gaussian_sigma: Sigma = 4.0,
        dice_mode: Literal["rows", "image"] = "rows",
        prompt_fp16_rounding: bool = False,
    ) -> None:
        super().__init__(clip)
        quarter = clip.n_layers // 4
        self.layers = tuple(output_layers or range(quarter, 4 * quarter + 1, quarter))
        _in_range("prompting_depth", prompting_depth, 1, max(clip.n_layers, clip.n_text_layers))
        _in_range("prompting_length", prompting_length, 1, clip.context_length - 2)
        if use_hsf:
            _in_range("k_clusters", k_clusters, 1, clip.grid**2)
        for layer in self.layers:
            _in_range("output_layers", layer, 1, clip.n_layers)
        if clip.text_width != clip.embed_dim:
            raise ValueError(f"AdaCLIP needs text width = embedding width, not {clip.text_width} and {clip.embed_dim}")

        self.prompting = Prompting(depth=prompting_depth, length=prompting_length, round_to_half=prompt_fp16_rounding)
        self.dynamic = "D" in prompting_type
        self.prompts_visual = bool(prompting_type) and "V" in prompting_branch
        self.prompts_text = bool(prompting_type) and "L" in prompting_branch
        self.use_hsf, self.k_clusters = use_hsf, k_clusters
        self.hsf_variant: HsfVariant = hsf_variant or variant
        self.hsf_alpha = hsf_alpha if hsf_alpha is not None else (0.2 if variant == "official" else 1.0)
        self.temperature, self.sigma = temperature, gaussian_sigma
        self.dice_rows = dice_mode == "rows"
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="before")
        self.kmeans_seed = kmeans_seed
        self.random_state = np.random.RandomState(kmeans_seed) if kmeans_stream == "running" else None
        if use_hsf and self.random_state is not None:
            self.remarks = ("k-means draws from one running stream: scores depend on the order of the images",)
        self._token_ids: dict[str, Tensor] = {}
        self._plain_text: dict[str, Tensor] = {}
        # The attribute's name is the prefix of every key in the authors' checkpoints.
        self.clip_model = Learnables(
            depth=prompting_depth,
            length=prompting_length,
            static_text=self.prompts_text and "S" in prompting_type,
            static_visual=self.prompts_visual and "S" in prompting_type,
            dynamic=self.dynamic,
            n_layers=len(self.layers),
            vision_width=clip.vision_width,
            embed_dim=clip.embed_dim,
        )

    # Frozen stage

    @torch.no_grad()
    def encode(self, batch: Batch) -> Features:
        """Pooled feature of the un-prompted pass, and whatever of both towers no prompt will change."""
        features: dict[str, Tensor] = {}
        if not self.prompts_visual:
            features["patch_tokens"], features["pooled"] = self._visual_pass(batch.images, None)
        elif self.dynamic:
            features["pooled"] = self.clip.encode_image(batch.images)
        if not self.prompts_text:
            features["text"] = torch.stack([self._text_without_prompts(name) for name in batch.class_names])
        return features

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

    def outputs(self, features: Features, batch: Batch) -> Outputs:
        """Run everything learnable on a batch."""
        parts = self.clip_model
        dynamic_visual = dynamic_text = None
        if self.dynamic:
            dynamic_visual = parts.dynamic_visual_prompt_generator(features["pooled"])  # (B, L, V)
            dynamic_text = parts.dynamic_text_prompt_generator(features["pooled"])  # (B, L, C)
        if self.prompts_visual:
            patch_tokens, pooled = self._visual_pass(batch.images, dynamic_visual)
        else:
            patch_tokens, pooled = features["patch_tokens"], features["pooled"]
        text = self._text_pass(batch.class_names, dynamic_text) if self.prompts_text else features["text"]

        heads = parts.patch_token_layer.head
        projected = [head(tokens) for head, tokens in zip(heads, patch_tokens[:, :, 1:].unbind(1), strict=True)]
        proj_patch = torch.stack([p / p.norm(dim=-1, keepdim=True) for p in projected], dim=1)  # (B, layers, N, C)
        proj_cls = parts.cls_token_layer(pooled)[:, 0]
        proj_cls = proj_cls / proj_cls.norm(dim=-1, keepdim=True)
        layer_logits = self.temperature * proj_patch @ text.unsqueeze(1)  # (B, layers, N, 2)
        image, hsf = proj_cls, None
        if self.use_hsf:
            selection = layer_logits.mean(dim=1).softmax(dim=-1)[..., 1]
            streams = [self.random_state or stream_of(image, self.kmeans_seed) for image in batch.images]
            hsf = fuse(proj_patch, selection, self.k_clusters, self.hsf_variant, streams)
            image = F.normalize(self.hsf_alpha * hsf + (1 - self.hsf_alpha) * proj_cls, dim=-1)
        image_logits = self.temperature * (image.unsqueeze(1) @ text).squeeze(1)  # (B, 2)
        return Outputs(
            dynamic_visual,
            dynamic_text,
            patch_tokens,
            pooled,
            proj_patch,
            proj_cls,
            text,
            layer_logits,
            hsf,
            image_logits,
        )

    def _visual_pass(self, images: Tensor, dynamic: Tensor | None) -> tuple[Tensor, Tensor]:
        """Patch tokens of the used layers and pooled feature, with the visual prompts where there are any."""
        return self.prompting.visual_pass(
            self.clip,
            images,
            layers=self.layers,
            static=list(self.clip_model.visual_prompter.static_prompts),
            dynamic=dynamic,
            prompted=self.prompts_visual,
        )

    def _text_pass(self, class_names: Sequence[str], dynamic: Tensor | None) -> Tensor:
        """State directions (B, C, 2) through the prompted text tower, all sentences of the batch in one call.

        Without dynamic prompts they depend on the class alone and are computed once per class of the batch.
        """
        unique = sorted(set(class_names))
        place = torch.tensor([unique.index(name) for name in class_names], device=self.clip.device)
        ids = torch.stack([self.token_ids(name) for name in unique])  # (U, 48, 77)
        n_sentences = ids.shape[1]
        with torch.no_grad():  # the first text block is never prompted
            first = self.clip.first_text_blocks(
                self.clip.embed_text(ids.flatten(0, 1), min_length=self.prompting.length + 2), 1
            )
        tokens, end = first.tokens, first.end
        if dynamic is not None:
            tokens = tokens.unflatten(0, (len(unique), n_sentences))[place].flatten(0, 1)  # (B * 48, T, C)
            end = end.unflatten(0, (len(unique), n_sentences))[place].flatten()
            dynamic = dynamic.repeat_interleave(n_sentences, dim=0)
        sentences = self.prompting.text_pass(
            self.clip,
            TextInput(tokens, end),
            static=list(self.clip_model.text_prompter.static_prompts),
            dynamic=dynamic,
        )
        n_normal = len(ADACLIP_ENSEMBLE.normal) * len(ADACLIP_ENSEMBLE.templates)
        directions = state_directions(sentences.unflatten(0, (-1, n_sentences)), n_normal)
        directions = F.normalize(directions, dim=1)
        return directions if dynamic is not None else directions[place]

    # What comes out

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Focal loss on the image score; focal and dice losses on each layer's map, summed over the layers."""
        terms = self.loss_terms(self.outputs(features, batch), batch)
        return {name: value.mean(dim=0).sum() for name, value in terms.items()}

    def loss_terms(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss per image: (B,) for the image score, (n, layers) for the maps of those with known masks."""
        image = outputs.image_logits.softmax(dim=-1)
        terms = {"image_focal": focal(image[:, :1], image[:, 1:], batch.labels[:, None])}
        known = known_masks(batch)
        if known is None:
            return terms
        rows, masks = known[0], known[1].to(outputs.pooled)
        abnormal, normal = (maps[rows] for maps in self.layer_probabilities(outputs))
        pairs = list(zip(normal.unbind(1), abnormal.unbind(1), strict=True))
        return terms | {
            "pixel_focal": torch.stack([focal(n, a, masks) for n, a in pairs], dim=1),
            "dice_abnormal": torch.stack([dice(a, masks, rows=self.dice_rows) for _, a in pairs], dim=1),
            "dice_normal": torch.stack([dice(n, 1 - masks, rows=self.dice_rows) for n, _ in pairs], dim=1),
        }

    def layer_probabilities(self, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """Maps (B, layers, S, S) of the abnormal and the normal state, softmax per layer, as trained on."""
        difference = outputs.layer_logits[..., 1] - outputs.layer_logits[..., 0]  # (B, layers, N)
        # A softmax over two channels is the sigmoid of their difference, and resizing is linear: half the work.
        grids = to_grid(difference.unsqueeze(-1), self.clip.grid)[:, :, 0]  # (B, layers, G, G)
        logits = resize_bilinear(grids, self.map_size, align_corners=True)
        return logits.sigmoid(), (-logits).sigmoid()

    def map_before_smoothing(self, outputs: Outputs) -> Tensor:
        """Anomaly map (B, S, S) in [0, 1]: softmax of the layers' mean logits."""
        logits = outputs.layer_logits.mean(dim=1)
        difference = to_grid((logits[..., 1] - logits[..., 0]).unsqueeze(-1), self.clip.grid)  # (B, 1, G, G)
        return resize_bilinear(difference, self.map_size, align_corners=True)[:, 0].sigmoid()

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Probability of the abnormal state for each image, and the smoothed map."""
        outputs = self.outputs(features, batch)
        scores = outputs.image_logits.float().softmax(dim=-1)[:, 1]
        return Prediction(scores, smooth(self.map_before_smoothing(outputs).float(), self.sigma))

    def load_official(self, path: str | Path) -> None:
        """Load a checkpoint of the authors' code: one flat dict, e.g. pretrained_mvtec_colondb.pth."""
        load_strictly(self, read_state(Path(path)), where=str(path))

    def save_official(self, path: str | Path) -> None:
        """Write the flat dict that the authors' code loads."""
        with replacing(Path(path)) as temporary:
            torch.save({key: value.cpu() for key, value in self.learnable_state().items()}, temporary)


def prompt_name(class_name: str) -> str:
    """The class name as it enters sentences: hyphens become spaces, nothing else changes."""
    return class_name.replace("-", " ")


def _in_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, outside {low} to {high} for this backbone and image size")
