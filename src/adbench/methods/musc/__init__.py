"""MuSc (ICLR 2024, arXiv 2401.16753): the unlabelled test images of a class score each other; nothing is trained."""

from adbench.methods.musc.method import MuSc

__all__ = ["MuSc"]
