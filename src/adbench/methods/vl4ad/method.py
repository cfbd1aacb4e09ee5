"""VL4AD: anomalies in road scenes as what no class of a mask transformer, told in words, accounts for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.data.label_maps import IGNORE
from adbench.data.sample import Batch
from adbench.errors import UserError
from adbench.methods.base import Features, Method, Prediction
from adbench.methods.registry import register
from adbench.methods.vl4ad.head import ClassHead, pool_under_masks
from adbench.methods.vl4ad.inference import Queries, image_map, image_sums
from adbench.methods.vl4ad.mask2former import DecoderSizes, MaskDecoder, MatchingLoss, Stages
from adbench.methods.vl4ad.official import load_official_names, read_official, to_official
from adbench.methods.vl4ad.pyramid import SimplePyramid
from adbench.methods.vl4ad.scoring import Frame, class_probability, ensembled_probability
from adbench.methods.vl4ad.settings import OF_DECODER, Vl4adSettings
from adbench.methods.vl4ad.targets import targets
from adbench.methods.vl4ad.views import Size, View, cut, lay_out, pad
from adbench.methods.vl4ad.vocabulary import Columns, read_vocabulary

_STRIDE, _DENSE = "stride", "dense"


@register("vl4ad")
class VL4AD(Method):
    """A mask transformer on a frozen CLIP, classified by text; anomalous is what its classes do not explain."""

    supervision = "segmentation"
    towers = frozenset({"vit", "convnext"})
    scoring_only = frozenset(
        {
            *("concepts", "merge", "ood", "use_void", "out_vocab", "alpha", "beta", "pixel_score", "tta_flip"),
            *("short_side", "long_side", "window", "window_stride"),
        }
    )

    settings_class = Vl4adSettings

    def __init__(self, clip: Clip, settings: Vl4adSettings) -> None:
        super().__init__(clip)
        settings.check()
        self.vocabulary = read_vocabulary(settings.vocabulary)
        self.wording = self.vocabulary.wording(
            concepts_train=settings.concepts_train, concepts=settings.concepts, merge=settings.merge, ood=settings.ood
        )
        self.use_void, self.out_vocab, self.alpha, self.beta = (
            *(settings.use_void, settings.out_vocab),
            *(settings.alpha, settings.beta),
        )
        self.pixel_score, self.tta_flip = settings.pixel_score, settings.tta_flip
        self.sizes = settings.sizes(clip.kind)
        self.map_size = self.sizes.short_side
        self.scenes = self.transform = self.sizes.transform(clip, jitter=settings.jitter)
        self.remarks = () if settings.ood == "none" else (f"OOD prompts: {settings.ood}",)
        self.pyramid = None if clip.kind == "convnext" else SimplePyramid(*next(iter(clip.pyramid_channels.items())))
        four, eight, sixteen, thirtytwo = (
            [clip.pyramid_channels[stride] for stride in (4, 8, 16, 32)]
            if self.pyramid is None
            else self.pyramid.channels
        )
        sizes = DecoderSizes(
            channels=(four, eight, sixteen, thirtytwo),
            n_classes=len(self.vocabulary.classes),
            **{name: getattr(settings, name) for name in OF_DECODER},
        )
        self.decoder = MaskDecoder(sizes)
        self.head = ClassHead(settings.hidden_dim, clip.embed_dim)
        self.criterion = MatchingLoss(sizes)
        self._columns: dict[str, Columns] = {}

    # The text side: computed once, never in the training loop

    def columns(self, use: str) -> Columns:
        """Text columns of "train" (classes), "test" (merged, with OOD prompts) or "segment" (classes, test words)."""
        if use not in self._columns:
            self._columns[use] = self.wording.columns(self.clip, use)
        return self._columns[use].to(self.head.logit_scale.device)

    def use_columns(self, **columns: Columns) -> None:
        """Put other text features in the place of the text tower's: columns by use, as in `columns`."""
        self._columns |= columns

    # From images to queries

    def encode(self, batch: Batch) -> Features:
        """Feature maps of the images' views: stride4 ... and dense, each (B, views, c, h, w). One view in training."""
        images = pad(batch.images)
        contents = [frame.content for frame in self._frames(batch)]
        views = cut(images, contents, self._views((images.shape[-2], images.shape[-1])))  # (B, V, 3, h, w)
        found = self.clip.dense(views.flatten(0, 1))
        maps = {f"{_STRIDE}{stride}": one for stride, one in found.pyramid.items()} | {_DENSE: found.dense}
        return {name: one.unflatten(0, views.shape[:2]) for name, one in maps.items()}

    def stages(self, features: Features, view: int = 0) -> Stages:
        """What the decoder says of one view of each image."""
        maps = {
            int(name.removeprefix(_STRIDE)): one[:, view] for name, one in features.items() if name.startswith(_STRIDE)
        }
        return self.decoder(maps if self.pyramid is None else self.pyramid(next(iter(maps.values()))))  # type: ignore[no-any-return]

    def embeddings(self, stages: Stages, number: int) -> Tensor:
        """Class embeddings (B, N, E) of the queries of a stage."""
        found: Tensor = self.head(stages.hidden[number], stages.masks[number], stages.mask_features)
        return found

    def clip_embeddings(self, mask_logits: Tensor, dense: Tensor) -> Tensor:
        """Frozen CLIP's view of the masks (B, N, h, w): its dense map pooled under each, projected; (B, N, E)."""
        small = F.interpolate(mask_logits, size=dense.shape[-2:], mode="bilinear", align_corners=False)
        return self.clip.project_dense(pool_under_masks(dense, small))

    # Training

    def stage_losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Weighted terms of every stage (see `MatchingLoss`)."""
        if batch.masks is None:
            raise UserError("method vl4ad learns from label maps, and these data have none", where=batch.dataset)
        stages, columns = self.stages(features), self.columns("train")
        logits = [self.head.logits(self.embeddings(stages, i), columns).float() for i in range(len(stages.masks))]
        masks, classes = targets(pad(batch.masks, IGNORE), len(self.vocabulary.classes), where=batch.dataset)
        found: dict[str, Tensor] = self.criterion([one.float() for one in stages.masks], logits, masks, classes)
        return found

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Classification, mask and dice losses, weighted, summed over the stages."""
        terms = self.stage_losses(features, batch)
        kinds = {"class": "loss_cross_entropy", "mask": "loss_mask", "dice": "loss_dice"}
        return {
            name: torch.stack([value for key, value in terms.items() if key.startswith(kind)]).sum()
            for name, kind in kinds.items()
        }

    def undecayed_parameters(self) -> frozenset[str]:
        """Parameters of norm layers and of embedding tables (queries, levels, void), which get no weight decay."""
        tables = (nn.LayerNorm, nn.GroupNorm, nn.Embedding)
        return frozenset(
            f"{name}.{key}"
            for name, module in self.named_modules()
            if isinstance(module, tables)
            for key, _ in module.named_parameters(recurse=False)
        )

    # Testing

    def score(self, features: Features, batch: Batch) -> Prediction:
        """A map per image at its original size, unbounded; no image score."""
        maps: list[list[Tensor]] = [[] for _ in range(len(batch))]
        for views, outputs in self._looks(features, batch, "test"):
            for index, frame in enumerate(self._frames(batch)):
                one = image_map([output.of(index) for output in outputs], views, frame, self.pixel_score)
                maps[index].append(one.flip(-1) if views[0].mirrored else one)
        return Prediction(None, [torch.stack(looks).mean(dim=0) if len(looks) > 1 else looks[0] for looks in maps])

    def class_maps(self, features: Features, batch: Batch, use: str = "test") -> list[Tensor]:
        """The class sums P (K, H, W) of each image at its original size, without the mirror image."""
        views, outputs = next(self._looks(features, batch, use))
        return [
            torch.cat(list(image_sums([output.of(index) for output in outputs], views, frame)), dim=1)
            for index, frame in enumerate(self._frames(batch))
        ]

    def segment(self, batch: Batch) -> list[Tensor]:
        """The most likely class of each pixel, (H, W) int64 per image: classes un-merged, no OOD prompts."""
        with torch.no_grad():
            return [maps.argmax(dim=0) for maps in self.class_maps(self.encode(batch), batch, "segment")]

    def _looks(self, features: Features, batch: Batch, use: str) -> Iterator[tuple[list[View], list[Queries]]]:
        """The views of the images as they are, then those of their mirror images, with what the queries say of each."""
        views = self._views(self._frames(batch)[0].padded)
        for mirrored in dict.fromkeys(view.mirrored for view in views):
            chosen = [number for number, view in enumerate(views) if view.mirrored == mirrored]
            yield [views[number] for number in chosen], [self.queries(features, one, use) for one in chosen]

    def queries(self, features: Features, view: int, use: str) -> Queries:
        """Masks and kept class probabilities of the last stage for one view of each image."""
        stages, columns = self.stages(features, view), self.columns(use)
        masks = stages.masks[-1].float()
        logits = self.head.logits(self.embeddings(stages, -1), columns).float()
        if not self.out_vocab:
            return Queries(masks, class_probability(logits, columns.n_kept, use_void=self.use_void))
        frozen = columns.logits(self.clip_embeddings(masks, features[_DENSE][:, view]), self.clip.logit_scale)
        probability = ensembled_probability(
            logits,
            frozen.float(),
            columns.n_kept,
            seen=columns.seen,
            alpha=self.alpha,
            beta=self.beta,
            use_void=self.use_void,
        )
        return Queries(masks, probability)

    def _views(self, padded: Size) -> list[View]:
        if self.training:
            return lay_out(padded, window=None, stride=1, mirrored=False)
        return lay_out(padded, window=self.sizes.window, stride=self.sizes.window_stride, mirrored=self.tta_flip)

    def _frames(self, batch: Batch) -> list[Frame]:
        """Sizes of each image. Without `batch.sizes` the tensors are taken for the images themselves."""
        height, width = batch.images.shape[-2:]
        padded = (height + -height % 32, width + -width % 32)
        if batch.sizes is None or self.training:
            return [Frame(padded, (height, width), (height, width))] * len(batch)
        return [Frame(padded, self.scenes.content_size(*size), size) for size in batch.sizes]

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
        torch.save({"model": {key: value.cpu() for key, value in self.learnable_state().items()}}, path)
