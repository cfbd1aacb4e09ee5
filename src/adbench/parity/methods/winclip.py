"""WinCLIP's parity cases: the ordinary method, its intermediates under the fixtures' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from adbench.data.sample import Batch
from adbench.methods.winclip.method import WinClip
from adbench.methods.winclip.windows import harmonic_to_patches, window_masks
from adbench.parity.from_case import case_batches, case_method, given


def run_case(case: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute a case, all its images as one batch; with `input/reference_images` it is a few-shot one."""
    settings = case["hyperparameters"]
    known = WinClip.hyperparameter_defaults()
    method = case_method(case, tensors, {key: value for key, value in settings.items() if key in known})
    assert isinstance(method, WinClip)
    (batch,) = case_batches(case, tensors)
    if "class_name" in settings:
        batch = replace(batch, class_names=[settings["class_name"]] * len(batch))
    if "input/reference_images" in tensors:
        _adapt(method, batch, given(tensors["input/reference_images"]))
    with torch.no_grad():
        values = _compute(method, batch)
    return {f"expected/{key}": value.cpu().numpy() for key, value in values.items()}


def _adapt(method: WinClip, batch: Batch, references: torch.Tensor) -> None:
    for name in dict.fromkeys(batch.class_names):
        support = Batch(
            images=references,
            labels=torch.zeros(len(references), dtype=torch.long, device=references.device),
            class_names=[name] * len(references),
            paths=[f"reference {number}" for number in range(len(references))],
            dataset=batch.dataset,
        )
        method.adapt(name, support)


def _compute(method: WinClip, batch: Batch) -> dict[str, torch.Tensor]:
    side = method.clip.grid
    features = method.encode(batch)
    prediction = method.score(features, batch)
    assert prediction.scores is not None
    assert isinstance(prediction.maps, torch.Tensor)
    values = {
        "text_embeddings": method.text_embeddings(batch.class_names[0]),
        "image_embeddings": features["image"],
        "patch_embeddings": features["patches"],
        "zero_shot_image_score": method.probability(features["image"], batch),
        "zero_shot_map": method.zero_shot_map(features, batch),
        "image_score": prediction.scores,
        "anomaly_map": prediction.maps,
    }
    for scale in method.scales:
        windows = features[f"windows_{scale}"]
        scores = method.probability(windows, batch)
        values |= {
            f"window_embeddings_{scale}": windows,
            f"window_masks_{scale}": window_masks(side, scale),
            f"zero_shot_window_scores_{scale}": scores,
            f"zero_shot_scale_map_{scale}": harmonic_to_patches(scores, side, scale),
        }
    if not method.memory_bank:
        return values
    near = method.associations(features, batch)
    values |= {
        "few_shot_patch_map": near["patches"].unflatten(1, (side, side)),
        "few_shot_map": method.few_shot_map(features, batch),
    }
    for scale in method.scales:
        scores = near[f"windows_{scale}"]
        values[f"few_shot_window_scores_{scale}"] = scores
        values[f"few_shot_scale_map_{scale}"] = harmonic_to_patches(scores, side, scale)
    return values
