"""PromptAD (CVPR 2024, arXiv 2404.05231): prompts learned from K normal images of a class, on a frozen CLIP."""

from adbench.methods.promptad.method import PromptAd

__all__ = ["PromptAd"]
