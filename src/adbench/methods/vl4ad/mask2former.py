"""Mask2Former's pixel decoder, masked transformer decoder and matching loss: the modules of Hugging Face transformers.

Built with exported names only: a backbone that is never called tells the library the channels of our feature maps, and
the two halves of `Mask2FormerModel` are then called by hand. transformers is an optional dependency, imported when the
first decoder is built.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from adbench.data.label_maps import IGNORE
from adbench.errors import UserError
from adbench.methods.vl4ad.deformable import DeformableAttention
from adbench.methods.vl4ad.settings import Vl4adSettings

STRIDES = (4, 8, 16, 32)
_MAJOR = 5
_PYRAMID = "adbench_pyramid"
# What the library's configuration calls as our settings do.
_SAME_NAME = (
    *("oversample_ratio", "importance_sample_ratio"),
    *("class_weight", "mask_weight", "dice_weight", "no_object_weight"),
)


@dataclass(frozen=True, slots=True)
class Stages:
    """What the decoder says of a batch: from the initial queries first to the last layer, S = layers + 1 stages.

    hidden       S tensors (B, N, C), normalised queries; masks: S tensors (B, N, H/4, W/4), logits
    mask_features (B, C, H/4, W/4); multi_scale: (B, C, H/s, W/s) for s = 32, 16, 8
    """

    hidden: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    mask_features: Tensor
    multi_scale: tuple[Tensor, ...]


class MaskDecoder(nn.Module):
    """Pixel decoder and transformer decoder on given feature maps."""

    def __init__(self, config: Any) -> None:
        """`config`: of `decoder_config`."""
        super().__init__()
        with _without_advice():
            model = load_library().Mask2FormerModel(config)
        self.pixel_decoder, self.transformer = model.pixel_level_module.decoder, model.transformer_module
        _initialise(self.pixel_decoder, self.transformer)
        for layer in self.pixel_decoder.encoder.layers:
            layer.self_attn = DeformableAttention(layer.self_attn)

    def forward(self, pyramid: Mapping[int, Tensor]) -> Stages:
        """Run on the maps of strides 4, 8, 16, 32. The pixel decoder runs in float32 under autocast too."""
        maps = [pyramid[stride] for stride in STRIDES]
        with torch.autocast(maps[0].device.type, enabled=False):
            pixels = self.pixel_decoder([level.to(self.pixel_decoder.level_embed.dtype) for level in maps])
        decoded = self.transformer(list(pixels.multi_scale_features), pixels.mask_features)
        hidden = tuple(stage.transpose(0, 1) for stage in decoded.intermediate_hidden_states)  # (N, B, C) -> (B, N, C)
        return Stages(hidden, tuple(decoded.masks_queries_logits), pixels.mask_features, pixels.multi_scale_features)


class MatchingLoss(nn.Module):
    """Hungarian matching, then cross-entropy, mask and dice losses of every stage, weighted."""

    def __init__(self, config: Any) -> None:
        """`config`: of `decoder_config`."""
        super().__init__()
        module = importlib.import_module("transformers.models.mask2former.modeling_mask2former")
        self.weights = {"cross_entropy": config.class_weight, "mask": config.mask_weight, "dice": config.dice_weight}
        self.criterion = module.Mask2FormerLoss(config, self.weights)

    def forward(
        self, masks: Sequence[Tensor], logits: Sequence[Tensor], target_masks: list[Tensor], classes: list[Tensor]
    ) -> dict[str, Tensor]:
        """Weighted terms "loss_cross_entropy", "loss_mask" and "loss_dice" of the last stage, with _i of stage i.

        masks, logits          per stage (B, N, h, w) and (B, N, K + 1), void last
        target_masks, classes  per image (n, H, W) float and (n,) int64
        """
        earlier = [
            {"masks_queries_logits": mask, "class_queries_logits": logit}
            for mask, logit in zip(masks[:-1], logits[:-1], strict=True)
        ]
        terms = self.criterion(masks[-1], logits[-1], target_masks, classes, earlier)
        kinds = {f"loss_{kind}": weight for kind, weight in self.weights.items()}
        return {
            key: kinds[next(kind for kind in kinds if key.startswith(kind))] * value for key, value in terms.items()
        }


def targets(labels: Tensor, n_classes: int, *, where: str = "") -> tuple[list[Tensor], list[Tensor]]:
    """Masks (n, H, W) float and classes (n,) int64, ascending, of each label map of (B, H, W); 255 is in no mask.

    Raises UserError for a label that is neither a class nor 255. `where` names the data.
    """
    masks, classes = [], []
    for label_map in labels:
        present = label_map.unique()
        present = present[present != IGNORE]
        if len(present) and not 0 <= int(present[0]) <= int(present[-1]) < n_classes:
            raise UserError(
                f"a label map holds class {int(present[-1])}, the vocabulary has {n_classes} classes",
                where=where,
                hint="choose the data set's own words (method.vocabulary)",
            )
        masks.append((label_map == present[:, None, None]).float())  # float: the point sampler takes no bool
        classes.append(present)
    return masks, classes


def decoder_config(settings: Vl4adSettings, channels: Sequence[int], n_classes: int) -> Any:
    """The library's configuration; its `decoder_layers` counts the initial prediction too.

    channels  of the feature maps at stride 4, 8, 16, 32
    """
    with _without_advice():
        config = load_library().Mask2FormerConfig(
            backbone_config=_pyramid_config()(channels=list(channels)),
            feature_size=settings.hidden_dim,
            mask_feature_size=settings.hidden_dim,
            hidden_dim=settings.hidden_dim,
            num_queries=settings.num_queries,
            num_attention_heads=settings.num_heads,
            encoder_layers=settings.encoder_layers,
            encoder_feedforward_dim=settings.encoder_ffn,
            decoder_layers=settings.decoder_layers + 1,
            dim_feedforward=settings.decoder_ffn,
            dropout=0.0,  # the library would also drop whole layers
            train_num_points=settings.num_points,
            **{name: getattr(settings, name) for name in _SAME_NAME},
        )
    config.num_labels = n_classes
    return config


@cache
def load_library() -> Any:
    """transformers. Raises UserError where it is absent or of another major version."""
    hint = "pip install 'adbench-clip[vl4ad]', or: pip install 'transformers>=5,<6'"
    try:
        library = importlib.import_module("transformers")
    except ImportError as error:
        raise UserError("method vl4ad needs transformers >= 5, < 6, which is not installed", hint=hint) from error
    if int(library.__version__.split(".")[0]) != _MAJOR:
        raise UserError(f"method vl4ad needs transformers >= 5, < 6, and {library.__version__} is installed", hint=hint)
    return library


@cache
def _pyramid_config() -> Any:
    """The configuration class of a backbone that only has channels, known to the library."""
    library = load_library()

    class PyramidConfig(library.PreTrainedConfig):  # type: ignore[misc,name-defined]
        model_type = _PYRAMID
        channels: list[int] | None = None

    class Pyramid(library.PreTrainedModel):  # type: ignore[misc,name-defined]
        config_class = PyramidConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.channels = list(config.channels)
            self.post_init()

    library.AutoConfig.register(_PYRAMID, PyramidConfig)
    library.AutoBackbone.register(PyramidConfig, Pyramid)
    return PyramidConfig


def _initialise(pixel_decoder: nn.Module, transformer: nn.Module) -> None:
    """Xavier weights and zero biases for the convolutions and the encoder's feed-forward layers, as in Mask2Former.

    The library leaves these at N(0, 0.02), and some of its releases do not draw embeddings of queries and levels from
    N(0, 1); the deformable attention it draws as it should.
    """
    level_embed: Any = pixel_decoder.level_embed
    nn.init.normal_(level_embed)
    for module in transformer.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
    for name, module in pixel_decoder.named_modules():
        is_feed_forward = name.startswith("encoder.") and name.endswith(("fc1", "fc2"))
        if isinstance(module, nn.Conv2d) or is_feed_forward:
            nn.init.xavier_uniform_(module.weight)
            if isinstance(module.bias, Tensor):
                nn.init.zeros_(module.bias)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the library from warning that it has seen Mask2Former on Swin backbones only."""
    logger = logging.getLogger("transformers.models.mask2former.configuration_mask2former")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled
