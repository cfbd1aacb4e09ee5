"""Backbones that the methods name, as plain data: readable without importing torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """An open_clip model with the weights that papers use, at the weights' own image size in pixels."""

    model: str
    pretrained: str
    image_size: int
    note: str


DEMO = "demo"

PRESETS: dict[str, Preset] = {
    "ViT-L-14-336": Preset("ViT-L-14-336", "openai", 336, "AdaCLIP, AnomalyCLIP, FAPrompt (at 518 px)"),
    "ViT-L-14": Preset("ViT-L-14", "openai", 224, "AdaCLIP, smaller input"),
    "ViT-B-16": Preset("ViT-B-16", "openai", 224, "AdaCLIP, small"),
    "ViT-B-32": Preset("ViT-B-32", "openai", 224, "AdaCLIP, smallest of OpenAI's"),
    "ViT-B-16-plus-240": Preset("ViT-B-16-plus-240", "laion400m_e32", 240, "InCTRL, PromptAD, WinCLIP (e31)"),
    DEMO: Preset("demo", "shipped", 96, "toy CLIP that ships with adbench: for demos and tests, not for results"),
}
