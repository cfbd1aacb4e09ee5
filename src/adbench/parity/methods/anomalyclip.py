"""AnomalyCLIP's parity cases: the ordinary method, its intermediates under the fixtures' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.methods.anomalyclip.method import AnomalyClip
from adbench.methods.learned_prompts import abnormal_probability, visual_features
from adbench.methods.losses import map_losses
from adbench.methods.maps import smooth
from adbench.parity.from_case import class_metrics, recorded, zero_shot_case

Tensors = dict[str, Tensor]
# Positions of a prompt that the fixtures record.
_RECORDED_POSITIONS = 24


def run_case(case: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute a case of kind infer (all images as one batch) or train."""
    return recorded(zero_shot_case(case, tensors, lambda method, batch: _infer(method, case, batch), _forward))


def _visual(method: AnomalyClip, batch: Batch) -> Tensors:
    listed = method.features_list  # also blocks that feature_map_layer leaves out
    settings = method.settings
    image, patches = visual_features(
        method.clip, batch.images, listed, dpam_layer=settings.dpam_layer, cls_ln_post=settings.cls_ln_post
    )
    named = zip(listed, patches.unbind(1), strict=True)
    return {"image_features_norm": image} | {f"patch_tokens_norm_layer{layer:02d}": values for layer, values in named}


def _text(method: AnomalyClip) -> Tensors:
    raw = method.raw_text_features()
    return {
        "prompt_embeddings": method.prompt_embeddings()[:, :_RECORDED_POSITIONS],
        "text_raw": raw,
        "text_features": raw / raw.norm(dim=-1, keepdim=True),
    }


def _maps(method: AnomalyClip, features: Mapping[str, Tensor], text: Tensor) -> Tensors:
    values = {}
    maps = method.layer_maps(features, text).unbind(1)
    probabilities = abnormal_probability(features["patches"], text, method.settings.temperature).unbind(1)
    for layer, abnormal, probability in zip(method.layers, maps, probabilities, strict=True):
        values[f"map_layer{layer:02d}"] = torch.stack([1 - abnormal, abnormal], dim=1)
        values[f"patch_prob_layer{layer:02d}"] = torch.stack([1 - probability, probability], dim=-1)
    return values


def _infer(method: AnomalyClip, case: Mapping[str, Any], batch: Batch) -> Tensors:
    features, text = method.encode(batch), method.text_features()
    prediction = method.score(features, batch)
    assert prediction.scores is not None
    assert isinstance(prediction.maps, Tensor)
    raw = method.map_before_smoothing(features, text)
    values = _visual(method, batch) | _text(method) | _maps(method, features, text)
    values |= {
        "image_score": prediction.scores,
        "anomaly_map_raw": raw,
        "anomaly_map": smooth(raw, method.settings.gaussian_sigma),
    }
    return values | class_metrics(case, batch, prediction.scores, prediction.maps)


def _forward(method: AnomalyClip, batch: Batch) -> tuple[Tensors, Tensors]:
    features = method.encode(batch)
    losses = method.loss(features, batch)
    text = method.text_features()
    maps = method.layer_maps(features, text)
    terms = map_losses(maps, 1 - maps, batch)
    values = _visual(method, batch) | _text(method) | _maps(method, features, text)
    values["global_logits"] = features["image"] @ text.T / method.settings.temperature
    for ours, name in (("pixel_focal", "focal"), ("dice_abnormal",) * 2, ("dice_normal",) * 2):
        for layer, value in zip(method.layers, terms[ours].mean(dim=0), strict=True):
            values[f"term_{name}_layer{layer:02d}"] = value.reshape(1)
    image = losses["image_cross_entropy"]
    total = torch.stack(list(losses.values())).sum()
    return {"loss_pixel_times_lambda": total - image, "loss_image_ce": image, "loss_total": total}, values
