"""adbench: CLIP-based visual anomaly detection on one backbone, one data layer and one metrics module.

    import adbench

    clip = adbench.load_clip("demo")
    method = adbench.build("clip_zeroshot", clip)
    results = adbench.evaluate(method, adbench.open_dataset("demo"))
    print(results.rows[-1]["pixel_auroc"])

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from adbench.api.dataset import Dataset, list_data, open_dataset
    from adbench.api.detector import Detector
    from adbench.api.export import export_onnx
    from adbench.api.image_prediction import ImagePrediction
    from adbench.api.load_run import load_run
    from adbench.api.running import Results, evaluate, list_clips, list_methods, load_results, train
    from adbench.clip import load_clip
    from adbench.engine.train import TrainResult
    from adbench.methods import build
    from adbench.plugins import load_plugin

_PLACES = {
    "adbench.api.dataset": ("Dataset", "list_data", "open_dataset"),
    "adbench.api.detector": ("Detector",),
    "adbench.api.export": ("export_onnx",),
    "adbench.api.image_prediction": ("ImagePrediction",),
    "adbench.api.load_run": ("load_run",),
    "adbench.api.running": ("Results", "evaluate", "list_clips", "list_methods", "load_results", "train"),
    "adbench.clip": ("load_clip",),
    "adbench.engine.train": ("TrainResult",),
    "adbench.methods": ("build",),
    "adbench.plugins": ("load_plugin",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "Dataset",
    "Detector",
    "ImagePrediction",
    "Results",
    "TrainResult",
    "__version__",
    "build",
    "evaluate",
    "export_onnx",
    "list_clips",
    "list_data",
    "list_methods",
    "load_clip",
    "load_plugin",
    "load_results",
    "load_run",
    "open_dataset",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'adbench' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
