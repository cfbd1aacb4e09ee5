"""AA-CLIP: adapters in the text tower make states separable, adapters in the image tower follow the words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.errors import UserError
from adbench.methods.aaclip.adapters import ImageAdapter, text_adapter, unit, unit_clamped
from adbench.methods.aaclip.official import read_folder, write_folder
from adbench.methods.aaclip.phrases import MEDICAL, N_NORMAL, phrase, phrase_number, sentences
from adbench.methods.aaclip.related import Raw, RelatedClass, Relating, raw_parts, scaled
from adbench.methods.aaclip.settings import BY_VARIANT, AaClipSettings
from adbench.methods.aaclip.towers import adapted_levels, first_block, plain_image, sentence_features, surgery_levels
from adbench.methods.aaclip.transform import AaClipTransform
from adbench.methods.base import Chunk, Features, Method, Prediction
from adbench.methods.blocks import check_blocks, quarters
from adbench.methods.learned_prompts import ValueCache
from adbench.methods.losses import map_losses, n_known
from adbench.methods.maps import blurred, resize_bilinear, to_grid
from adbench.methods.registry import register
from adbench.methods.variants import by_variant
from adbench.methods.weights import load_strictly

_SCALE = 100.0
_OF_ANY_DOMAIN = ("", "folder", "meta")
"""Names that stand for pictures of any kind: a user's own."""
_BLUR = {False: (7, 1.0), True: (9, 1.5)}
"""Side of the kernel and sigma on the grid of patches, by whether the data are medical."""


@register("aaclip")
class AaClip(Method):
    """AA-CLIP, learned on auxiliary data in two stages and applied to unseen classes, each scaled as a whole."""

    settings_class = AaClipSettings
    transductive = True
    features_suffice = True
    scoring_only = frozenset({"domain"})
    learns_from_masks = "also"
    training_stages: Sequence[str] = ("text", "image")

    def __init__(self, clip: Clip, settings: AaClipSettings) -> None:
        super().__init__(clip)
        self.settings = chosen = by_variant(settings, BY_VARIANT)
        self.levels = tuple(sorted(set(chosen.levels or quarters(clip))))
        check_blocks(clip, "levels", self.levels)
        n_text = _blocks("text_adapt_until", chosen.text_adapt_until, 3, clip.n_text_layers)
        n_image = _blocks("image_adapt_until", chosen.image_adapt_until, 6, clip.n_layers)
        surgery = _blocks("surgery_until_layer", chosen.surgery_until_layer, 20, clip.n_layers + 1)
        self.first_changed = clip.n_layers - surgery + 2
        if clip.grid <= _BLUR[chosen.domain == "medical"][0] // 2:
            raise ValueError(f"{clip.grid} patches a side are too few for the filter of the maps")
        self.map_size = clip.image_size
        width = clip.vision_width
        if chosen.adapt_text:
            self.text_adapter = text_adapter(n_text, clip.text_width, clip.embed_dim)
        else:
            self.training_stages = ("image",)
        self.image_adapter = ImageAdapter(n_image, len(self.levels), width, clip.embed_dim, relu=chosen.relu)
        self.begin_stage("image")
        self.remarks = ["image scores and maps were scaled over all test images of the class"]
        if chosen.class_phrases == "official":
            self.remarks.append(
                "prompts call classes by the authors' phrases, which describe the very objects tested, and by name "
                "where the authors have none"
            )
        self._text_cache = ValueCache()

    def begin_stage(self, stage: str) -> None:
        """Learn the adapters of the text tower, or then those of the image tower, with changed colours."""
        self.stage, clip = stage, self.clip
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith(f"{stage}_adapter."))
        colours = stage == "image"
        self.transform = AaClipTransform(clip.image_size, clip.mean, clip.std, mask_rule="nearest", colours=colours)
        # Images attend to each other, and the squared mean of cosines is of the whole batch.
        self.loss_mixes_batch = stage == "text"

    # Frozen stage

    @torch.no_grad()
    def encode(self, batch: Batch) -> Features:
        """Frozen tokens, of the first block or (stage of text) before surgery, and what the data are called.

        medical (B,) and phrase (B,), see `phrases`; tokens (B, 1 + T, V); in the stage of text also image (B, C) and
        block_L for the levels before surgery.
        """
        device = batch.images.device
        medical = self._is_medical(batch.dataset.partition(":")[0])
        numbers = [phrase_number(batch.dataset, name) for name in batch.class_names]
        named = {
            "medical": torch.full((len(batch),), medical, device=device),
            "phrase": torch.tensor(numbers, device=device),
        }
        if not self._learns_text:
            return named | {"tokens": first_block(self.clip, batch.images)}
        before = [level for level in self._text_levels if level < self.first_changed]
        blocks, image = plain_image(self.clip, batch.images, {self.first_changed - 1, *before})
        plain = {f"block_{level}": blocks[level] for level in before}
        return named | plain | {"tokens": blocks[self.first_changed - 1], "image": image}

    def _is_medical(self, dataset: str) -> bool:
        """How maps are smoothed, and what image scores are. Raises UserError where pictures may be of either kind."""
        if self.settings.domain is None and dataset in _OF_ANY_DOMAIN and not self.training:
            raise UserError(
                "aaclip scores industrial and medical pictures differently, and nothing says which these are",
                where=f"data={dataset}" if dataset else "",
                hint='give method.domain=industrial or medical (in Python: load_run(RUN, domain="medical"))',
            )
        return self.settings.domain == "medical" if self.settings.domain else dataset in MEDICAL

    def feature_settings(self) -> Mapping[str, Any]:
        """The stage, and in that of text where surgery begins and which levels lie before it."""
        chosen = self.settings
        if not self._learns_text:
            return {"stage": "image", "domain": chosen.domain}
        return {
            "stage": "text",
            "first": self.first_changed,
            "levels": list(self._text_levels),
            "domain": chosen.domain,
        }

    @property
    def _learns_text(self) -> bool:
        """Whether the batches are for the loss of the stage of text."""
        return self.training and self.stage == "text"

    @property
    def _text_levels(self) -> tuple[int, ...]:
        return self.levels if self.settings.text_levels == "all" else self.levels[-1:]

    # Text

    def raw_text(self, phrase_: str) -> Tensor:
        """Features (16, C) of the sentences about a phrase, normal ones first, not normalised."""
        adapters = self.text_adapter if self.settings.adapt_text else None
        return sentence_features(self.clip, sentences(phrase_), adapters, self.settings.text_adapt_weight)

    def directions(self, phrase_: str) -> Tensor:
        """Unit vectors (C, 2) of the normal and the abnormal state of a phrase."""
        features = unit(self.raw_text(phrase_))
        states = [features[:N_NORMAL].mean(dim=0), features[N_NORMAL:].mean(dim=0)]
        return torch.stack([unit(state) for state in states], dim=1)

    def text_features(self, features: Features, class_names: Sequence[str]) -> Tensor:
        """Directions of each image's own class, (B, C, 2); with a gradient in the stage of text alone."""
        numbers = features["phrase"].tolist()
        phrases = [phrase(n, name, self.settings.class_phrases) for n, name in zip(numbers, class_names, strict=True)]
        if self.stage == "text" and torch.is_grad_enabled():
            made = {name: self.directions(name) for name in dict.fromkeys(phrases)}
            return torch.stack([made[name] for name in phrases])
        weights = self.text_adapter.parameters() if self.settings.adapt_text else [self.clip.model.text_projection]
        with torch.no_grad():
            known: dict[str, Tensor] = self._text_cache.get(weights, dict)
            for name in phrases:
                if name not in known:
                    known[name] = self.directions(name)
        return torch.stack([known[name] for name in phrases])

    # Images

    def visual(self, features: Features) -> tuple[list[Tensor], Tensor]:
        """Patches of each level (B, T, C), unit length, and the image vector (B, C), a mean of unit vectors."""
        parts, ln_post = self.image_adapter, self.clip.model.visual.ln_post
        weight = self.settings.image_adapt_weight
        blocks = adapted_levels(self.clip, features["tokens"], parts.layer_adapters, weight, self.levels)
        rows = [ln_post(blocks[level][:, 1:]) for level in self.levels]
        patches = [unit_clamped(head(x)) for head, x in zip(parts.seg_proj, rows, strict=True)]
        return patches, unit(parts.det_proj(rows[-1])).mean(dim=1)

    @torch.no_grad()
    def surgery_patches(self, features: Features) -> dict[int, Tensor]:
        """Patches (B, T, C) by level for the stage of text: unit vectors plus the image's, not normalised again."""
        over_batch = self.settings.surgery_axis == "batch"
        levels = self._text_levels
        blocks = surgery_levels(self.clip, features["tokens"], self.first_changed, levels, over_batch=over_batch)
        blocks |= {level: features[f"block_{level}"] for level in levels if level < self.first_changed}
        patches = {level: unit(self.clip.project(blocks[level][:, 1:])) for level in levels}
        return {level: x + features["image"].unsqueeze(1) for level, x in patches.items()}

    def difference(self, patches: Tensor, text: Tensor) -> Tensor:
        """Logit of abnormal minus that of normal on the grid: (B, T, C), (B, C, 2) -> (B, 1, G, G)."""
        logits = _SCALE * patches @ text
        return to_grid((logits[..., 1] - logits[..., 0]).unsqueeze(-1), self.clip.grid)

    def level_terms(self, patches: Sequence[Tensor], text: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Focal and both dice losses of each level, (n, levels)."""
        logits = torch.cat([self.difference(x, text) for x in patches], dim=1)
        logits = resize_bilinear(logits, self.map_size, align_corners=True)
        return map_losses(logits.sigmoid(), (-logits).sigmoid(), batch)

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Of the text: one level's map, and how alike the states are. Of images: all maps, and the image vector."""
        text = self.text_features(features, batch.class_names)
        if self.stage == "text":
            terms = self.level_terms(list(self.surgery_patches(features).values()), text, batch)
            alike = (text[..., 0] * text[..., 1]).sum(dim=-1).mean()
            image = {"states_alike": self.settings.text_norm_weight * alike**2}
        else:
            patches, vector = self.visual(features)
            terms = self.level_terms(patches, text, batch)
            image = {"image_cross_entropy": F.cross_entropy((vector.unsqueeze(1) @ text).squeeze(1), batch.labels)}
        return {name: value.mean(dim=0).sum() for name, value in terms.items()} | image

    def term_count(self, name: str, batch: Batch) -> int:
        """Terms of the maps are means over the images whose masks are known."""
        return len(batch) if name in ("image_cross_entropy", "states_alike") else n_known(batch)

    # Testing

    def raw(self, features: Features, class_names: Sequence[str]) -> Raw:
        """Maps and scores before the class is looked at as a whole."""
        text = self.text_features(features, class_names).detach()
        patches, vector = self.visual(features)
        grids = [(self.difference(x, text)[:, 0].float() + 1) / 2 for x in patches]
        size, sigma = _BLUR[bool(features["medical"][0])]
        if self.clip.grid <= size // 2:
            raise UserError(
                f"{self.clip.grid} patches a side are too few for the filter of medical maps",
                where="method.domain",
                hint="choose a larger image size",
            )
        scores = ((vector * text[..., 1]).sum(dim=-1).float() + 1) / 2
        return self._upsampled([blurred(grid, size, sigma) for grid in grids], scores)

    def _upsampled(self, grids: Sequence[Tensor], scores: Tensor) -> Raw:
        maps = resize_bilinear(torch.stack(list(grids), dim=1), self.map_size, align_corners=True).sum(dim=1)
        return Raw(maps, scores, grids)

    @torch.no_grad()
    def relate(
        self,
        class_name: str,
        chunks: Sequence[Chunk],
        *,
        strata: Sequence[str] | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        """Keep the class's smallest and largest value of maps and scores, and grids and score of each image.

        The tower behind the first block is run here, and not again where `score` meets the same images.
        """
        relating = Relating()
        for number, (features, paths) in enumerate(chunks, start=1):
            relating.add(self.raw(features, [class_name] * len(paths)), paths)
            progress(number / len(chunks))
        self.memory_bank[class_name] = relating.done()

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Maps scaled to [0, 1] over the class, and image scores. Raises UserError for a class that is not known."""
        for name in batch.class_names:
            if not self.remembers(name):
                raise UserError(
                    "aaclip scales the scores of a class over all its test images, and has not seen this class",
                    where=f"class {name}",
                    hint="run `eval`, or give all images at once to Detector.predict",
                )
        classes: list[RelatedClass] = [self.memory_bank[name] for name in batch.class_names]
        known = raw_parts(classes, batch.paths)
        raw = self.raw(features, batch.class_names) if known is None else self._upsampled(*known)
        ranges = [torch.stack(values) for values in zip(*(related.ranges for related in classes), strict=True)]
        maps = scaled(raw.maps, *(value[:, None, None] for value in ranges[:2]))
        largest = maps.flatten(1).amax(dim=1)
        if bool(features["medical"][0]):
            return Prediction(largest, maps)
        return Prediction((largest + scaled(raw.scores, *ranges[2:])) / 2, maps)

    # Weights

    def load_official(self, path: str | Path) -> None:
        """Load the authors' text_adapter.pth and image_adapter.pth from their folder."""
        load_strictly(self, read_folder(path, with_text=self.settings.adapt_text), where=str(path))

    def save_official(self, path: str | Path) -> None:
        """Write the two files that the authors' code loads into a folder."""
        write_folder(path, self.learnable_state())


def _blocks(name: str, chosen: int | None, authors: int, most: int) -> int:
    """How many blocks a setting names; raises ValueError for more than there are."""
    if chosen is not None and chosen > most:
        raise ValueError(f"{name} is {chosen}, above {most} for this backbone")
    return min(authors, most) if chosen is None else chosen
