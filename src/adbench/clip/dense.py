"""Feature maps of an image tower at several strides, the same call for ConvNeXt and ViT towers (VL4AD).

A ConvNeXt gives the outputs of its four stages (strides 4, 8, 16, 32); a plain ViT has one resolution, so it gives one
map, at the power of two that its patch rounds up to: the input is resized by 14/16 for patches of 14 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

TowerKind = Literal["vit", "convnext"]
MULTIPLE = 32
"""Sides of the images that `dense_features` takes are multiples of this."""


@dataclass(frozen=True, slots=True)
class DenseFeatures:
    """What `Clip.dense` gives of (B, 3, H, W) images.

    pyramid  stride -> (B, c, H / stride, W / stride), channels as `Clip.pyramid_channels` says
    dense    (B, dense_dim, h, w) the last map before pooling and projection: what `Clip.project_dense` takes
    """

    pyramid: Mapping[int, Tensor]
    dense: Tensor


@dataclass(frozen=True, slots=True)
class TowerFacts:
    """Sizes of an image tower; `n_layers` counts blocks (ViT) or stages (ConvNeXt)."""

    kind: TowerKind
    patch_size: int
    width: int
    n_layers: int
    pyramid_channels: Mapping[int, int]


def tower_facts(visual: Any) -> TowerFacts | None:
    """Facts of an open_clip image tower; None for one that is neither a classic ViT nor a timm ConvNeXt."""
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    if blocks is not None:
        classic = (
            all(isinstance(getattr(block, "attn", None), nn.MultiheadAttention) for block in blocks)
            and getattr(visual, "attn_pool", None) is None
            and getattr(visual, "pool_type", "") == "tok"
        )
        patch, width = int(visual.conv1.kernel_size[0]), int(visual.conv1.out_channels)
        return TowerFacts("vit", patch, width, len(blocks), {vit_stride(patch): width}) if classic else None
    trunk: Any = getattr(visual, "trunk", None)
    if type(trunk).__name__ != "ConvNeXt":  # timm's class, which is not imported for other towers
        return None
    channels = {int(info["reduction"]): int(info["num_chs"]) for info in trunk.feature_info}
    convnext = TowerFacts("convnext", MULTIPLE, int(trunk.num_features), len(trunk.stages), channels)
    return convnext if sorted(channels) == [4, 8, 16, 32] else None


def vit_stride(patch_size: int) -> int:
    """Stride of a ViT's map in the image: the power of two that the patch rounds up to."""
    return 1 << (patch_size - 1).bit_length()


def convnext_features(visual: Any, images: Tensor) -> DenseFeatures:
    """Outputs of the four stages in the precision of the images; the last one, before pooling, is the dense map."""
    held = images.to(next(visual.trunk.stages.parameters()).dtype)
    outputs = visual.forward_intermediates(held, indices=[0, 1, 2, 3], intermediates_only=True)["image_intermediates"]
    stages = [output.to(images.dtype) for output in outputs]
    strides = [int(info["reduction"]) for info in visual.trunk.feature_info]
    return DenseFeatures(dict(zip(strides, stages, strict=True)), visual.trunk.norm_pre(stages[-1]))


def project_convnext(visual: Any, x: Tensor) -> Tensor:
    """The tower's head on vectors (..., dense_dim): pooling of a 1x1 map, norm, projection; (..., C)."""
    pooled = visual.trunk.forward_head(x.reshape(-1, x.shape[-1], 1, 1))
    projected: Tensor = visual.head(pooled)
    return projected.reshape([*x.shape[:-1], projected.shape[-1]])


def fit_to_patches(images: Tensor, patch_size: int) -> Tensor:
    """Images resized (bilinearly) so that a patch covers `vit_stride(patch_size)` of their pixels."""
    stride = vit_stride(patch_size)
    if stride == patch_size:
        return images
    height, width = (side // stride * patch_size for side in images.shape[-2:])
    return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)


def register_convnext(depths: tuple[int, ...], dims: tuple[int, ...]) -> str:
    """Make timm know a ConvNeXt of these depths and channels per stage; returns its name.

    open_clip hands neither on to timm, so a size that timm has no name for needs one: use it as `timm_model_name`.
    """
    import timm
    from timm.models import is_model, register_model

    name = "adbench_convnext_" + "_".join(map(str, (*depths, *dims)))
    if not is_model(name):

        def entry(pretrained: bool = False, **settings: Any) -> nn.Module:
            return timm.create_model("convnext_tiny", pretrained=pretrained, depths=depths, dims=dims, **settings)

        entry.__name__ = name
        register_model(entry)
    return name
