"""AA-CLIP (CVPR 2025, arXiv 2503.06661): adapters make words for normal and abnormal separable, then images follow."""

from adbench.methods.aaclip.method import AaClip

__all__ = ["AaClip"]
