"""InCTRL (CVPR 2024, arXiv 2403.06495): residuals to a few normal images, learned to generalise over data sets."""

from adbench.methods.inctrl.method import InCtrl

__all__ = ["InCtrl"]
