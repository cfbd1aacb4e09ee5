"""VL4AD: anomalies in road scenes as what no class of a mask transformer, told in words, accounts for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.clip.dense import MULTIPLE
from adbench.data.label_maps import IGNORE
from adbench.data.sample import Batch
from adbench.data.segmentation import Augmentation, SegmentationTransform
from adbench.errors import UserError
from adbench.methods.base import Features, Method, ParameterGroup, Prediction
from adbench.methods.registry import register
from adbench.methods.vl4ad.head import ClassHead, pool_under_masks
from adbench.methods.vl4ad.mask2former import STRIDES, MaskDecoder, MatchingLoss, Stages, decoder_config, targets
from adbench.methods.vl4ad.official import load_official_names, read_official, to_official
from adbench.methods.vl4ad.pyramid import SimplePyramid
from adbench.methods.vl4ad.scoring import ImageSizes, class_probability, ensembled_probability, image_sums, score_map
from adbench.methods.vl4ad.settings import Vl4adSettings, train_short_sides
from adbench.methods.vl4ad.views import Size, View, cut, lay_out, pad
from adbench.methods.vl4ad.vocabulary import Columns, read_vocabulary
from adbench.methods.weights import save_torch

_STRIDE, _DENSE = "stride", "dense"


@register("vl4ad")
class VL4AD(Method):
    """A mask transformer on a frozen CLIP, classified by text; anomalous is what its classes do not explain."""

    supervision = "segmentation"
    towers = frozenset({"vit", "convnext"})
    loss_mixes_batch = True  # points are drawn for all masks of a batch at once
    scoring_only = frozenset(
        {
            *("concepts", "merge", "ood", "use_void", "out_vocab", "alpha", "beta", "pixel_score", "tta_flip"),
            *("short_side", "long_side", "window", "window_stride"),
        }
    )

    settings_class = Vl4adSettings

    @classmethod
    def require_graph(cls, hyperparameters: Mapping[str, Any]) -> None:
        """There is none: windows and maps have the proportions of each scene."""
        what = "its windows and maps follow the proportions of each picture: one graph has one size"
        raise UserError(what, where=f"method {cls.name}")

    def __init__(self, clip: Clip, settings: Vl4adSettings) -> None:
        super().__init__(clip)
        self.settings = chosen = settings.for_tower(clip.kind)
        self.vocabulary = read_vocabulary(chosen.vocabulary)
        self.wording = self.vocabulary.wording(
            concepts_train=chosen.concepts_train, concepts=chosen.concepts, merge=chosen.merge, ood=chosen.ood
        )
        self.map_size = chosen.short_side
        augmentation = Augmentation(
            short_sides=train_short_sides(chosen.short_side, chosen.scales),
            long_side=4 * chosen.short_side,
            crop=chosen.crop,
            jitter=chosen.jitter,
        )
        self.scenes = self.transform = SegmentationTransform(
            mean=clip.mean,
            std=clip.std,
            short_side=chosen.short_side,
            long_side=chosen.long_side,
            augmentation=augmentation,
        )
        self.remarks = () if chosen.ood == "none" else (f"OOD prompts: {chosen.ood}",)
        self.pyramid = None if clip.kind == "convnext" else SimplePyramid(*next(iter(clip.pyramid_channels.items())))
        channels = [clip.pyramid_channels[s] for s in STRIDES] if self.pyramid is None else self.pyramid.channels
        config = decoder_config(chosen, channels, len(self.vocabulary.classes))
        self.decoder = MaskDecoder(config)
        self.head = ClassHead(chosen.hidden_dim, clip.embed_dim)
        self.criterion = MatchingLoss(config)
        self._columns: dict[str, Columns] = {}

    # The text side: computed once, never in the training loop

    def columns(self, use: str) -> Columns:
        """Text columns of "train" (classes), "test" (merged, with OOD prompts) or "segment" (classes, test words)."""
        known = self._columns[use] if use in self._columns else self.wording.columns(self.clip, use)
        self._columns[use] = known.to(self.head.logit_scale.device)  # moved once
        return self._columns[use]

    def use_columns(self, **columns: Columns) -> None:
        """Put other text features in the place of the text tower's: columns by use, as in `columns`."""
        self._columns |= columns

    # From images to queries

    def encode(self, batch: Batch) -> Features:
        """Feature maps of the images' views: stride4 ... and dense, each (B, views, c, h, w). One view in training."""
        images = pad(batch.images)
        contents = [sizes.content for sizes in self._sizes(batch)]
        views = cut(images, contents, self._views((images.shape[-2], images.shape[-1])))  # (B, V, 3, h, w)
        seen = self.clip.dense(views.flatten(0, 1))
        maps = {f"{_STRIDE}{stride}": level for stride, level in seen.pyramid.items()} | {_DENSE: seen.dense}
        return {name: level.unflatten(0, views.shape[:2]) for name, level in maps.items()}

    def stages(self, features: Features, view: int = 0) -> Stages:
        """What the decoder says of one view of each image."""
        maps = {
            int(name.removeprefix(_STRIDE)): level[:, view]
            for name, level in features.items()
            if name.startswith(_STRIDE)
        }
        return self.decoder(maps if self.pyramid is None else self.pyramid(next(iter(maps.values()))))  # type: ignore[no-any-return]

    def embeddings(self, stages: Stages, number: int) -> Tensor:
        """Class embeddings (B, N, E) of the queries of a stage."""
        embeddings: Tensor = self.head(stages.hidden[number], stages.masks[number], stages.mask_features)
        return embeddings

    def clip_embeddings(self, mask_logits: Tensor, dense: Tensor) -> Tensor:
        """Frozen CLIP's view of the masks (B, N, h, w): its dense map pooled under each, projected; (B, N, E)."""
        small = F.interpolate(mask_logits, size=dense.shape[-2:], mode="bilinear", align_corners=False)
        return self.clip.project_dense(pool_under_masks(dense, small))

    # Training

    def stage_losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Weighted terms of every stage (see `MatchingLoss`)."""
        if batch.targets is None:
            raise UserError("method vl4ad learns from label maps, and these data have none", where=batch.dataset)
        stages, columns = self.stages(features), self.columns("train")
        logits = [self.head.logits(self.embeddings(stages, i), columns).float() for i in range(len(stages.masks))]
        masks, classes = targets(pad(batch.targets, IGNORE), len(self.vocabulary.classes), where=batch.dataset)
        terms: dict[str, Tensor] = self.criterion([mask.float() for mask in stages.masks], logits, masks, classes)
        return terms

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Classification, mask and dice losses, weighted, summed over the stages."""
        terms = self.stage_losses(features, batch)
        kinds = {"class": "loss_cross_entropy", "mask": "loss_mask", "dice": "loss_dice"}
        return {
            name: torch.stack([value for key, value in terms.items() if key.startswith(kind)]).sum()
            for name, kind in kinds.items()
        }

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Norm layers and embedding tables (queries, levels, void) apart, without weight decay."""
        tables = (nn.LayerNorm, nn.GroupNorm, nn.Embedding)
        spared = {
            f"{name}.{key}"
            for name, module in self.named_modules()
            if isinstance(module, tables)
            for key, _ in module.named_parameters(recurse=False)
        }
        named = self.learnable_parameters()
        return [
            ParameterGroup(names=tuple(name for name in named if name not in spared)),
            ParameterGroup(names=tuple(name for name in named if name in spared), weight_decay=0.0),
        ]

    # Testing

    def score(self, features: Features, batch: Batch) -> Prediction:
        """A map per image at its original size, unbounded; no image score."""
        maps: list[list[Tensor]] = [[] for _ in range(len(batch))]
        for views, looks in self._looks(features, batch, "test"):
            for index, sizes in enumerate(self._sizes(batch)):
                strips = image_sums([(masks[index], p[index]) for masks, p in looks], views, sizes)
                scores = score_map(strips, self.settings.pixel_score)
                maps[index].append(scores.flip(-1) if views[0].mirrored else scores)
        return Prediction(None, [torch.stack(both).mean(dim=0) if len(both) > 1 else both[0] for both in maps])

    def class_maps(self, features: Features, batch: Batch, use: str = "test") -> list[Tensor]:
        """The class sums P (K, H, W) of each image at its original size, without the mirror image."""
        views, looks = next(self._looks(features, batch, use))
        return [
            torch.cat(list(image_sums([(masks[index], p[index]) for masks, p in looks], views, sizes)), dim=1)
            for index, sizes in enumerate(self._sizes(batch))
        ]

    def segment(self, batch: Batch) -> list[Tensor]:
        """The most likely class of each pixel, (H, W) int64 per image: classes un-merged, no OOD prompts."""
        with torch.no_grad():
            return [maps.argmax(dim=0) for maps in self.class_maps(self.encode(batch), batch, "segment")]

    def _looks(
        self, features: Features, batch: Batch, use: str
    ) -> Iterator[tuple[list[View], list[tuple[Tensor, Tensor]]]]:
        """The views of the images as they are, then those of their mirror images, with what the queries say of each."""
        views = self._views(self._sizes(batch)[0].padded)
        for mirrored in dict.fromkeys(view.mirrored for view in views):
            numbers = [number for number, view in enumerate(views) if view.mirrored == mirrored]
            yield [views[number] for number in numbers], [self.queries(features, number, use) for number in numbers]

    def queries(self, features: Features, view: int, use: str) -> tuple[Tensor, Tensor]:
        """Mask logits (B, N, h, w) and class probabilities (B, N, K) of the last stage for a view of each image."""
        stages, columns, settings = self.stages(features, view), self.columns(use), self.settings
        masks = stages.masks[-1].float()
        logits = self.head.logits(self.embeddings(stages, -1), columns).float()
        if not settings.out_vocab:
            return masks, class_probability(logits, columns.n_kept, use_void=settings.use_void)
        frozen = columns.logits(self.clip_embeddings(masks, features[_DENSE][:, view]), self.clip.logit_scale)
        probability = ensembled_probability(
            logits,
            frozen.float(),
            columns.n_kept,
            seen=columns.seen,
            alpha=settings.alpha,
            beta=settings.beta,
            use_void=settings.use_void,
        )
        return masks, probability

    def _views(self, padded: Size) -> list[View]:
        settings = self.settings
        if self.training:
            return lay_out(padded, window=None, stride=1, mirrored=False)
        window = settings.window or None
        return lay_out(padded, window=window, stride=settings.window_stride, mirrored=settings.tta_flip)

    def _sizes(self, batch: Batch) -> list[ImageSizes]:
        """Sizes of each image. Without `batch.sizes` the tensors are taken for the images themselves."""
        height, width = batch.images.shape[-2:]
        padded = (height + -height % MULTIPLE, width + -width % MULTIPLE)
        if batch.sizes is None or self.training:
            return [ImageSizes(padded, (height, width), (height, width))] * len(batch)
        return [ImageSizes(padded, self.scenes.content_size(*size), size) for size in batch.sizes]

    # What is learned goes by the names of FC-CLIP's checkpoints

    def learnable_state(self) -> dict[str, Tensor]:
        """Everything learned, by FC-CLIP's names; the pyramid of a ViT tower by its own."""
        return {key: value.detach() for key, value in to_official(self.state_dict()).items()}

    def load_learnable_state(self, state: Mapping[str, Tensor]) -> None:
        """Load what `learnable_state` returned."""
        load_official_names(self, state)

    def load_official(self, path: str | Path) -> None:
        """Load the decoder of an FC-CLIP checkpoint; its frozen CLIP is left aside (`clip.checkpoint` takes it)."""
        load_official_names(self, read_official(path), where=str(path))

    def save_official(self, path: str | Path) -> None:
        """Write the learned weights under FC-CLIP's names, as {"model": state}."""
        save_torch(path, self.learnable_state(), below="model")
