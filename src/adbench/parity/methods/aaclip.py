"""AA-CLIP's parity cases: the ordinary method, intermediates under the fixtures' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.methods.aaclip.method import AaClip
from adbench.methods.aaclip.official import PARTS
from adbench.methods.aaclip.towers import POSITIONS
from adbench.methods.base import Features
from adbench.parity.from_case import adam_steps, case_batches, case_method, class_metrics, recorded

Tensors = dict[str, Tensor]


def run_case(case: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute a case of kind infer (a class at a time), train_text or train_image."""
    settings = case["hyperparameters"]
    stage = case["kind"].removeprefix("train_")
    given = {key: value for key, value in settings.items() if key in AaClip.hyperparameter_defaults()}
    given |= {"class_phrases": case["class_phrases"]}
    method = case_method(case, tensors, given, wrap=_parts)
    assert isinstance(method, AaClip)
    method.begin_stage("text" if stage == "text" else "image")
    if stage == "infer":
        with torch.no_grad():
            return recorded(_infer(method.eval(), case, *case_batches(case, tensors)))
    method.train()
    batches = case_batches(case, tensors, case["batch_size"])[: settings["steps"]]
    forward = _text_forward if stage == "text" else _image_forward
    return recorded(adam_steps(method, batches, settings, lambda batch: forward(method, batch)))


def _parts(state: Mapping[str, Tensor]) -> dict[str, Tensor | dict[str, Tensor]]:
    """Flat names as the authors keep the parts."""
    return {
        part: {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}
        for part in PARTS
    }


def _infer(method: AaClip, case: Mapping[str, Any], batch: Batch) -> Tensors:
    features = method.encode(batch)
    for name in case["class_order"]:
        rows = [row for row, other in enumerate(batch.class_names) if other == name]
        method.relate(name, [({key: values[rows] for key, values in features.items()}, [""] * len(rows))])
    prediction, raw = method.score(features, batch), method.raw(features, batch.class_names)
    assert prediction.scores is not None
    assert isinstance(prediction.maps, Tensor)
    patches, vector = method.visual(features)
    phrases = [case["class_phrases"][name] for name in case["class_order"]]
    side = method.clip.grid
    ours = {
        "resized_positional_embedding": method.clip.positions((side, side), POSITIONS),
        "text_raw": torch.stack([method.raw_text(phrase) for phrase in phrases]),
        "text_features": torch.stack([method.directions(phrase) for phrase in phrases]),
        "det_token": vector,
        "image_score_raw": raw.scores,
        "anomaly_map_raw": raw.maps,
        "anomaly_map": prediction.maps,
        "image_score": prediction.scores,
    }
    for level, tokens, grid in zip(method.levels, patches, raw.grids, strict=True):
        ours |= {f"seg_tokens_layer{level:02d}": tokens, f"blurred_grid_layer{level:02d}": grid}
    return ours | class_metrics(case, batch, prediction.scores, prediction.maps)


def _text_forward(method: AaClip, batch: Batch) -> tuple[Tensors, Tensors]:
    features = method.encode(batch)
    patches = method.surgery_patches(features)
    values = {f"patch_features_layer{level:02d}": x for level, x in patches.items()}
    values["patch_features"] = patches[method.levels[-1]]
    return _losses(method, features, batch), values | _terms(method, patches, features, batch)


def _image_forward(method: AaClip, batch: Batch) -> tuple[Tensors, Tensors]:
    features = method.encode(batch)
    patches, vector = method.visual(features)
    levels = dict(zip(method.levels, patches, strict=True))
    values = {f"seg_tokens_layer{level:02d}": x for level, x in levels.items()}
    text = method.text_features(features, batch.class_names)
    values["class_logits"] = (vector.unsqueeze(1) @ text).squeeze(1)
    return _losses(method, features, batch), values | _terms(method, levels, features, batch)


def _losses(method: AaClip, features: Features, batch: Batch) -> Tensors:
    terms = method.loss(features, batch)
    losses = {"loss_total": torch.stack(list(terms.values())).sum()}
    return losses | ({"loss_class": terms["image_cross_entropy"]} if "image_cross_entropy" in terms else {})


def _terms(method: AaClip, patches: Mapping[int, Tensor], features: Features, batch: Batch) -> Tensors:
    text = method.text_features(features, batch.class_names)
    terms = method.level_terms(list(patches.values()), text, batch)
    values = {"text_features": text}
    for ours, name in (("pixel_focal", "focal"), ("dice_abnormal",) * 2, ("dice_normal",) * 2):
        for level, value in zip(patches, terms[ours].mean(dim=0), strict=True):
            values[f"term_{name}_layer{level:02d}"] = value.reshape(1)
    return values
