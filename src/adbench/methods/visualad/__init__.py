"""VisualAD (CVPR 2026, arXiv 2603.07952): two learned tokens travel through CLIP's image tower; no text."""

from adbench.methods.visualad.method import VisualAd

__all__ = ["VisualAd"]
