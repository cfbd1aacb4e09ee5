"""Backbones that the methods name, as plain data: readable without importing torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """An open_clip model with the weights that papers use, at the weights' own image size in pixels.

    module  for a CLIP that open_clip lacks: the module whose `load(checkpoint, quick_gelu, image_size)` makes it
    """

    model: str
    pretrained: str
    image_size: int
    module: str = ""


PRESETS: dict[str, Preset] = {
    "ViT-L-14-336": Preset("ViT-L-14-336", "openai", 336),
    "ViT-L-14": Preset("ViT-L-14", "openai", 224),
    "ViT-B-16": Preset("ViT-B-16", "openai", 224),
    "ViT-B-32": Preset("ViT-B-32", "openai", 224),
    "ViT-B-16-plus-240": Preset("ViT-B-16-plus-240", "laion400m_e32", 240),
    "convnext_large_d_320": Preset("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup", 320),
    "convnext_base_w": Preset("convnext_base_w", "laion2b_s13b_b82k_augreg", 256),
    "toy_convnext": Preset("toy_convnext", "random", 96, module="adbench.demo.toy_convnext"),
    "demo": Preset("demo", "shipped", 96, module="adbench.demo.clip"),
}
