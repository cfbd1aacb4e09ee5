"""AdaCLIP (ECCV 2024, arXiv 2407.15795): hybrid learnable prompts in both towers of a frozen CLIP."""

from adbench.methods.adaclip.method import AdaClip

__all__ = ["AdaClip"]
