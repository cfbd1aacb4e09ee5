"""AnomalyCLIP (ICLR 2024, arXiv 2310.18961): object-agnostic prompts and V-V attention on a frozen CLIP."""

from adbench.methods.anomalyclip.method import AnomalyClip

__all__ = ["AnomalyClip"]
