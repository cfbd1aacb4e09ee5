"""WinCLIP and WinCLIP+ (CVPR 2023, arXiv 2303.14814), as anomalib computes them: the training-free baseline."""

from adbench.methods.winclip.method import WinClip

__all__ = ["WinClip"]
