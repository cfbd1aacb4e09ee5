"""InCTRL: which parts are frozen, which are learned, how residuals to normal images become scores and losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.clip.prompts import INCTRL_ENSEMBLE, NATURAL_ENSEMBLE, NATURAL_OBJECTS, encode_ensemble
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError
from adbench.methods.base import SUPPORT, Features, Method, Prediction, beside
from adbench.methods.blocks import check_blocks
from adbench.methods.inctrl.heads import Adapter, Head
from adbench.methods.inctrl.layout import regroup, regroup_prompt_patches
from adbench.methods.inctrl.official import split_checkpoint, with_towers
from adbench.methods.inctrl.settings import BY_VARIANT, InCtrlSettings
from adbench.methods.losses import score_focal
from adbench.methods.maps import patch_maps
from adbench.methods.memories import not_adapted, rows_by_class
from adbench.methods.registry import register
from adbench.methods.residuals import nearest_distance
from adbench.methods.variants import by_variant
from adbench.methods.weights import load_strictly, save_torch
from adbench.weight_files import read_state


@dataclass(frozen=True, slots=True)
class Comparison:
    """Queries against normal images.

    prompts          (B, K, E) class features of each row's prompts, as `batch_layout` groups them; None from memories
    adapted_prompts  (B, E) mean of the adapted ones
    layer_maps       (B, L, P) distance of each patch to the nearest prompt patch, per layer
    """

    prompts: Tensor | None
    adapted_prompts: Tensor
    layer_maps: Tensor


@dataclass(frozen=True, slots=True)
class InCtrlOutputs:
    """Everything between the features and the scores of a batch (section 1 of the specification).

    text              (B, 2, E) unit directions of the normal and the abnormal state
    text_logits       (B, 2) temperature x cosine of the class feature with them
    adapted_query, image_residual   (B, E); the residual is prompts minus query
    residual_map      (B, P) mean of the layers' maps
    s_a, s_i, s_p     (B,) text prior, image-level score, largest residual
    holistic_map      (B, P), holistic_score (B,)
    final_score       (B,) what everything is for
    """

    text: Tensor
    text_logits: Tensor
    comparison: Comparison
    adapted_query: Tensor
    image_residual: Tensor
    residual_map: Tensor
    s_a: Tensor
    s_i: Tensor
    s_p: Tensor
    holistic_map: Tensor
    holistic_score: Tensor
    final_score: Tensor


@register("inctrl")
class InCtrl(Method):
    """InCTRL, trained on auxiliary data with K normal images per query and adapted to a class by K normal images."""

    settings_class = InCtrlSettings
    adapts = needs_support = in_context = features_suffice = True
    loss_mixes_batch = True  # batch normalisation

    def __init__(self, clip: Clip, settings: InCtrlSettings) -> None:
        super().__init__(clip)
        self.settings = chosen = by_variant(settings, BY_VARIANT)
        check_blocks(clip, "out_layers", chosen.out_layers)
        if chosen.adapter_reduction > clip.embed_dim:
            raise ValueError(f"adapter_reduction is {chosen.adapter_reduction}, outside 1 to {clip.embed_dim}")
        self.mixes_batch = chosen.batch_layout == "official"
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, resize="short_side", rgb="after")
        self._text: dict[str, Tensor] = {}
        # The attributes' names are the prefixes of the keys in the authors' checkpoints.
        self.adapter = Adapter(clip.embed_dim, chosen.adapter_reduction)
        normalisation = {"eps": chosen.batchnorm_eps, "momentum": chosen.batchnorm_momentum}
        self.diff_head = Head(clip.grid**2, chosen.head_hidden, **normalisation)
        self.diff_head_ref = Head(clip.embed_dim, chosen.head_hidden, **normalisation)

    @classmethod
    def require_graph(cls, hyperparameters: Mapping[str, Any]) -> None:
        """None of the layout that mixes the images of a batch."""
        if hyperparameters["batch_layout"] == "official":
            what = "it mixes the pictures of a batch: no graph of any number of pictures gives its scores"
            raise UserError(what, where="method.batch_layout=official")

    # Frozen stage

    @torch.no_grad()
    def raw_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Class features (B, E) and patches (B, L, P, V), not normalised."""
        layers = self.settings.out_layers
        streams = self.clip.image_blocks(self.clip.embed_image(images), collect=layers, class_token_only=True)
        patches = [streams.blocks[layer][:, 1:] for layer in layers]
        return self.clip.project(streams.tokens[:, 0]), torch.stack(patches, dim=1)

    def encode(self, batch: Batch) -> Features:
        """class (B, E), raw, and unit patches (B, L, P, V); those of the support beside them where there is one."""
        class_features, patches = self.raw_features(batch.images)
        features: Features = {"class": class_features, "patches": F.normalize(patches, dim=-1)}
        return features if batch.support is None else beside(features, self.encode(batch.support))

    def feature_settings(self) -> dict[str, object]:
        """The blocks that patches are taken from."""
        return {"out_layers": list(self.settings.out_layers)}

    def text_features(self, class_name: str) -> Tensor:
        """Unit directions (2, E) of the normal and the abnormal state, once per class."""
        if class_name not in self._text:
            words = self.prompt_words(class_name)
            natural = self.settings.natural_prompts and words in NATURAL_OBJECTS
            directions = encode_ensemble(self.clip, NATURAL_ENSEMBLE if natural else INCTRL_ENSEMBLE, words)
            self._text[class_name] = directions.T
        return self._text[class_name].to(self.clip.device)

    def prompt_words(self, class_name: str) -> str:
        """The class name with spaces for underscores."""
        return class_name.replace("_", " ")

    @torch.no_grad()
    def adapt(self, class_name: str, support: Batch, features: Features | None = None) -> None:
        """Keep the class features (K, E) and the unit patches (L, K, P, V) of the support."""
        encoded = self.encode(support) if features is None else features
        self.memory_bank[class_name] = {
            "class": encoded["class"],
            "patches": encoded["patches"].transpose(0, 1).contiguous(),
        }

    # Learnable stage

    def outputs(self, features: Features, batch: Batch) -> InCtrlOutputs:
        """Run everything on a batch: against its own support where it has one, else against the classes' memories."""
        if f"{SUPPORT}class" in features:
            comparison = self._against_support(features)
        elif self.mixes_batch:
            comparison = self._against_support(beside(features, self._memories(batch)))
        else:
            comparison = self._against_memory(features, batch)
        query, settings = features["class"], self.settings
        text = torch.stack([self.text_features(name) for name in batch.class_names])  # (B, 2, E)
        text_logits = settings.text_temperature * (text @ F.normalize(query, dim=-1).unsqueeze(-1))[..., 0]  # (B, 2)
        s_a = text_logits.softmax(dim=-1)[:, 1]
        adapted_query = self.adapter(query)
        image_residual = comparison.adapted_prompts - adapted_query
        s_i = self.diff_head_ref(image_residual)
        residual_map = comparison.layer_maps.mean(dim=1)  # (B, P)
        s_p = residual_map.amax(dim=-1)
        holistic_map = residual_map + (s_i + s_a).unsqueeze(-1)
        holistic_score = self.diff_head(holistic_map)
        return InCtrlOutputs(
            text=text,
            text_logits=text_logits,
            comparison=comparison,
            adapted_query=adapted_query,
            image_residual=image_residual,
            residual_map=residual_map,
            s_a=s_a,
            s_i=s_i,
            s_p=s_p,
            holistic_map=holistic_map,
            holistic_score=holistic_score,
            final_score=(holistic_score + settings.alpha * s_p) / settings.final_divisor,
        )

    def _against_support(self, features: Features) -> Comparison:
        """Every query and its own K support images, grouped as `batch_layout` says."""
        query, n = features["patches"], len(features["class"])  # (B, L, P, V)
        prompts = features[f"{SUPPORT}class"].reshape(n, -1, self.clip.embed_dim)  # (B, K, E)
        patches = features[f"{SUPPORT}patches"].reshape(n, -1, *query.shape[1:])  # (B, K, L, P, V)
        if self.mixes_batch:
            query, prompts = regroup(query), regroup(prompts)
            normal = regroup_prompt_patches(patches)
        else:
            normal = patches.transpose(1, 2).flatten(2, 3)  # (B, L, K * P, V)
        # Row by row, so that the cosines of one image only exist at a time.
        nearest = torch.stack([(q @ p.mT).amax(dim=-1) for q, p in zip(query, normal, strict=True)])
        return Comparison(prompts, self.adapter(prompts).mean(dim=1), self.settings.residual_scale * (1 - nearest))

    def _against_memory(self, features: Features, batch: Batch) -> Comparison:
        """Every query and the memory of its class: one product per class and layer."""
        query = features["patches"]  # (B, L, P, V)
        layer_maps = query.new_empty(query.shape[:-1])
        adapted = torch.empty_like(features["class"])
        for name, rows in rows_by_class(batch.class_names):
            memory_bank = self._memory(name)
            adapted[rows] = self.adapter(memory_bank["class"]).mean(dim=0).to(adapted)
            for number, normal in enumerate(memory_bank["patches"]):
                distances = nearest_distance(query[rows, number], normal.flatten(0, 1), self.settings.residual_scale)
                layer_maps[rows, number] = distances.to(layer_maps)
        return Comparison(None, adapted, layer_maps)

    def _memories(self, batch: Batch) -> Features:
        """The memories of the batch's classes as if they were each query's own support."""
        memory_banks = [self._memory(name) for name in batch.class_names]
        if len({len(memory_bank["class"]) for memory_bank in memory_banks}) > 1:
            raise UserError(
                "classes of one batch have different numbers of support images",
                where="method.batch_layout=official",
                hint="use the same support.k for all classes, eval.batch_size=1, or method.batch_layout=corrected",
            )
        return {
            "class": torch.cat([memory_bank["class"] for memory_bank in memory_banks]),
            "patches": torch.cat([memory_bank["patches"].transpose(0, 1) for memory_bank in memory_banks]),
        }

    def _memory(self, class_name: str) -> dict[str, Tensor]:
        if class_name not in self.memory_bank:
            raise not_adapted(self, class_name)
        memory_bank: dict[str, Tensor] = self.memory_bank[class_name]
        return memory_bank

    # What comes out

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Loss of the final score and of the image-level score, equal weights."""
        if self.training and len(batch) < 2:
            raise UserError("InCTRL trains on batches of at least 2 images", hint="raise trainer.batch_size")
        outputs, settings = self.outputs(features, batch), self.settings
        terms = {
            "final": (settings.final_loss, outputs.final_score),
            "image": (settings.image_loss, outputs.s_i),
        }
        return {
            name: score_focal(
                scores,
                batch.labels,
                logits=settings.loss_applies_sigmoid,
                gamma=settings.focal_gamma if kind == "focal" else 0.0,
            )
            for name, (kind, scores) in terms.items()
        }

    def score(self, features: Features, batch: Batch) -> Prediction:
        """The final score of each image; the residual map, enlarged, as its pixel map."""
        outputs = self.outputs(features, batch)
        maps = patch_maps(outputs.residual_map.float().unsqueeze(1), self.map_size, align_corners=False)
        return Prediction(outputs.final_score.float(), maps[:, 0])

    def load_official(self, path: str | Path) -> None:
        """Load checkpoint_N.pyth of the authors' code; the frozen towers in it must be those of the backbone."""
        learned = split_checkpoint(read_state(path), self.clip, where=str(path))
        load_strictly(self, learned, where=str(path))

    def save_official(self, path: str | Path) -> None:
        """Write the flat dict that the authors' code loads, frozen towers included."""
        save_torch(path, with_towers(self.learnable_state(), self.clip))
