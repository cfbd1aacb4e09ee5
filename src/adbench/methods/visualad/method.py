"""VisualAD: an anomaly and a normal token read the whole image in the frozen tower, patches are compared with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.base import Features, Method, ParameterGroup, Prediction
from adbench.methods.blocks import check_blocks, quarters
from adbench.methods.losses import map_losses, n_known
from adbench.methods.maps import resize_bilinear, smooth, to_grid
from adbench.methods.registry import register
from adbench.methods.visualad.layers import CrossAttentions, ImageDropout, PatchMlp
from adbench.methods.visualad.official import read_checkpoint, write_checkpoint
from adbench.methods.visualad.settings import VisualAdSettings
from adbench.methods.weights import check_fit

_ROWS_BEFORE_PATCHES = 3  # anomaly, normal, class


@dataclass(frozen=True, slots=True)
class VisualAdOutputs:
    """Everything between the features and the predictions of a batch.

    rows              per level H_l (B, 3 + T, V): the block's output through ln_post
    anomaly, normal   (B, V): the two tokens after the last block
    level_anomaly, level_normal  per level (B, V): after its cross-attention
    maps              (B, levels, S, S) cosine to the anomaly token minus cosine to the normal one, in [-2, 2]
    """

    rows: Mapping[int, Tensor]
    anomaly: Tensor
    normal: Tensor
    level_anomaly: Sequence[Tensor]
    level_normal: Sequence[Tensor]
    maps: Tensor


@register("visualad")
class VisualAd(Method):
    """VisualAD, learned on auxiliary data and applied to unseen classes; it knows no text and no class names."""

    settings_class = VisualAdSettings
    features_suffice = True
    scoring_only = frozenset({"gaussian_sigma", "load_ln_post"})
    learns_from_masks = "also"

    def __init__(self, clip: Clip, settings: VisualAdSettings) -> None:
        super().__init__(clip)
        self.settings = settings
        self.layers = tuple(dict.fromkeys(settings.features_list or quarters(clip)))
        check_blocks(clip, "features_list", self.layers)
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="squash", rgb="after")
        width, ln_post = clip.vision_width, clip.model.visual.ln_post
        self.anomaly_token = nn.Parameter(torch.randn(width) * 0.1 * width**-0.5)
        self.normal_token = nn.Parameter(torch.randn(width) * 0.1 * width**-0.5)
        self.ln_post_weight = nn.Parameter(ln_post.weight.detach().clone())
        self.ln_post_bias = nn.Parameter(ln_post.bias.detach().clone())
        self.layer_transforms = nn.ModuleDict({f"layer_{layer}": PatchMlp(width) for layer in self.layers})
        n_positions = max(settings.pos_encoding_rows, clip.grid**2)
        self.cross_attn = CrossAttentions(self.layers, width, settings.num_anchors, n_positions)

    # Frozen stage

    @torch.no_grad()
    def encode(self, batch: Batch) -> Features:
        """tokens (B, 1 + T, V): class and patches before ln_pre. The learned tokens enter all blocks."""
        return {"tokens": self.clip.embed_image(batch.images, interpolation="bilinear")}

    def feature_settings(self) -> Mapping[str, Any]:
        """Nothing but the backbone decides the features."""
        return {}

    # Learnable stage

    def outputs(self, features: Features, *, trained_ln_post: bool, dropout: ImageDropout | None) -> VisualAdOutputs:
        """Run everything learnable on a batch; `trained_ln_post` or the backbone's own."""
        tokens = features["tokens"]
        pair = torch.stack([self.anomaly_token, self.normal_token]).to(tokens.dtype)
        pair = pair + self.clip.model.visual.positional_embedding[:1]  # the class token's position, frozen
        tokens = torch.cat([pair.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        last = self.clip.n_layers
        streams = self.clip.image_blocks(tokens, collect={*self.layers, last})
        rows = {layer: self._ln_post(x, trained=trained_ln_post) for layer, x in streams.blocks.items()}
        anomaly, normal = rows[last][:, 0], rows[last][:, 1]
        level_anomaly, level_normal, grids = [], [], []
        for layer in self.layers:
            patches = rows[layer][:, _ROWS_BEFORE_PATCHES:]
            a, n = self.cross_attn.layer_attentions[f"layer_{layer}"]([anomaly, normal], patches, dropout)
            seen = F.normalize(self.layer_transforms[f"layer_{layer}"](patches, dropout), dim=-1)
            difference = F.normalize(a, dim=-1) - F.normalize(n, dim=-1)
            grids.append(to_grid(seen @ difference.unsqueeze(-1), self.clip.grid))  # (B, 1, G, G)
            level_anomaly.append(a)
            level_normal.append(n)
        maps = resize_bilinear(torch.cat(grids, dim=1), self.map_size, align_corners=False)
        return VisualAdOutputs(rows, anomaly, normal, level_anomaly, level_normal, maps)

    def _ln_post(self, x: Tensor, *, trained: bool) -> Tensor:
        norm = self.clip.model.visual.ln_post
        if not trained:
            result: Tensor = norm(x)
            return result
        return F.layer_norm(x, norm.normalized_shape, self.ln_post_weight, self.ln_post_bias, norm.eps)

    def top_mean(self, maps: Tensor) -> Tensor:
        """Mean of the largest `topk_ratio` of the pixels, at least one: (B, S, S) -> (B,)."""
        pixels = maps.flatten(1)
        return pixels.topk(max(1, math.ceil(self.settings.topk_ratio * pixels.shape[1])), dim=1).values.mean(dim=1)

    def training_outputs(self, features: Features, batch: Batch) -> VisualAdOutputs:
        """Outputs with the trained ln_post, and dropout in training mode."""
        dropout = None
        if self.training and self.settings.dropout:
            seeds = batch.seeds or torch.randint(1 << 62, (len(batch),)).tolist()
            dropout = ImageDropout(self.settings.dropout, seeds, features["tokens"].device)
        return self.outputs(features, trained_ln_post=True, dropout=dropout)

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Focal and dice of each level's map, cross-entropy of the image score, and how alike the last tokens are."""
        return self.loss_terms(self.training_outputs(features, batch), batch)

    def loss_terms(self, outputs: VisualAdOutputs, batch: Batch) -> dict[str, Tensor]:
        """The loss terms, all of weight 1; those of the maps are sums over levels."""
        terms = map_losses(outputs.maps.sigmoid(), (-outputs.maps).sigmoid(), batch)
        pixel = {name: terms[name].mean(dim=0).sum() for name in ("pixel_focal", "dice_abnormal") if terms}
        scores = self.top_mean(outputs.maps.sum(dim=1))
        alike = F.cosine_similarity(outputs.level_anomaly[-1], outputs.level_normal[-1], dim=-1)
        return pixel | {
            "image_cross_entropy": F.binary_cross_entropy_with_logits(scores, batch.labels.to(scores.dtype)),
            "contrastive": (alike + self.settings.margin).clamp(min=0).mean(),
        }

    def term_count(self, name: str, batch: Batch) -> int:
        """Terms of the maps are means over the images whose masks are known."""
        return n_known(batch) if name in ("pixel_focal", "dice_abnormal") else len(batch)

    def score(self, features: Features, batch: Batch) -> Prediction:
        """The smoothed sum of the levels' maps, and the mean of its largest pixels."""
        outputs = self.outputs(features, trained_ln_post=self.settings.load_ln_post, dropout=None)
        maps = smooth(outputs.maps.sum(dim=1).float(), self.settings.gaussian_sigma)
        return Prediction(self.top_mean(maps), maps)

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Each token by itself, its gradient clipped; everything else at a lower rate."""
        tokens = ("anomaly_token", "normal_token")
        rest = tuple(name for name in self.learnable_parameters() if name not in tokens)
        clipped = [ParameterGroup(names=(name,), clip_norm=self.settings.token_grad_clip) for name in tokens]
        return [*clipped, ParameterGroup(names=rest, lr_factor=self.settings.rest_lr_factor)]

    # Weights

    def load_learnable_state(self, state: Mapping[str, Tensor]) -> None:
        """Load weights, whatever number of positions they have beyond those of the patches."""
        self._load(state)

    def load_official(self, path: str | Path) -> None:
        """Load epoch_N.pth, final_model.pth or CLIP.pth of the authors' code."""
        self._load(read_checkpoint(path, self.layers, self.clip.image_size), where=str(path))

    def _load(self, state: Mapping[str, Tensor], *, where: str = "") -> None:
        least = self.clip.grid**2
        expected = self.state_dict()
        tables = {name: p for name, p in self.named_parameters() if name.endswith(".pos_encoding")}
        for name, table in tables.items():
            given = state.get(name)
            if given is not None and given.dim() == 3 and given.shape[1] >= least:
                expected[name] = table.new_empty(1, given.shape[1], table.shape[2])
        check_fit(expected, state, where=where)
        for name, table in tables.items():
            table.data = expected[name]
        self.load_state_dict(state)

    def save_official(self, path: str | Path) -> None:
        """Write what the authors' code loads."""
        facts = {
            "cross_attn_config": {"num_anchors": self.settings.num_anchors, "dropout": self.settings.dropout},
            "transform_type": "mlp",
            "features_list": list(self.layers),
            "image_size": self.clip.image_size,
            "epoch": 0,
            "backbone": self.clip.name,
        }
        write_checkpoint(path, self.learnable_state(), facts)
