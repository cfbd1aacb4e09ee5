"""What decides frozen features: the keys of their caches on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from adbench.data.fingerprint import file_hashes, mark
from adbench.data.sample import Sample
from adbench.engine.settings import TrainSettings
from adbench.engine.weights import backbone, deciding_backbone, hyperparameters
from adbench.methods.base import Method

BLOCK = 8
"""Images that are encoded together."""
VERSION = 2


def encoding_facts(method: Method, precision: str, device: torch.device) -> dict[str, Any]:
    """Everything that `encode` depends on beside the images."""
    described = backbone(method)
    deciding = method.feature_settings()
    decided = {**deciding_backbone(described), "image_size": described.get("image_size")}
    if described.get("compile"):  # rounds otherwise
        decided["compile"] = True
    return {
        "version": VERSION,
        "method": method.name,
        **({} if method.plugin is None else {"plugin": method.plugin["sha256"]}),
        "settings": hyperparameters(method) if deciding is None else deciding,
        "backbone": decided,
        "transform": method.transform.describe(),
        "precision": precision,
        "device": device.type,
        "torch": torch.__version__,
    }


def feature_facts(
    method: Method, samples: Sequence[Sample], settings: TrainSettings, device: torch.device
) -> dict[str, Any]:
    """Everything that features and masks of a training's images depend on."""
    hashes = file_hashes(path for sample in samples for path in sample.files)
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(mark(sample, hashes).encode("utf-8", "surrogateescape"))
    files = {"block": BLOCK, "n_images": len(samples), "files": digest.hexdigest()}
    return {**encoding_facts(method, settings.amp, device), **files}


def facts_hash(facts: Mapping[str, Any]) -> str:
    """SHA-256 of such facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
