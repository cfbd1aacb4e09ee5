"""Anomaly detection methods on a frozen CLIP. `build(name, clip, ...)` makes one, `names()` lists them."""

from adbench.methods.base import Method, Prediction
from adbench.methods.registry import build, method_class, names, register

__all__ = ["Method", "Prediction", "build", "method_class", "names", "register"]
