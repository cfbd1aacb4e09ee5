"""FAPrompt's parity cases: the ordinary method and preprocessing, intermediates under the fixtures' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.methods.faprompt.method import FaPrompt, FaPromptOutputs, overlap
from adbench.methods.learned_prompts import visual_features
from adbench.methods.maps import smooth
from adbench.parity.from_case import class_metrics, recorded, zero_shot_case

Tensors = dict[str, Tensor]
# Positions of a prompt that the fixtures record.
_RECORDED_POSITIONS = 20


def run_case(case: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute a case of kind infer (all images as one batch), train or preprocess."""
    if case["kind"] == "preprocess":
        return recorded(_preprocess(case, tensors))
    return recorded(zero_shot_case(case, tensors, lambda method, batch: _infer(method, case, batch), _forward))


def _preprocess(case: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Tensors:
    settings = case["hyperparameters"]
    size = case["image_size"] if isinstance(case["image_size"], int) else case["image_size"][0]
    transform = ClipTransform(size, tuple(settings["mean"]), tuple(settings["std"]), resize="squash", rgb="after")
    images, masks = [], []
    for index, mode in enumerate(case["pil_modes"]):
        image = Image.fromarray(tensors[f"input/image_{index}"].astype(np.uint8), mode if mode != "P" else "L")
        if mode == "P":
            image = Image.fromarray(tensors[f"input/image_{index}"].astype(np.uint8), "P")
            image.putpalette(tensors[f"input/palette_{index}"].astype(np.uint8).tobytes())
        images.append(transform.image(image))
        stored = tensors.get(f"input/mask_{index}")
        if case["labels"][index] and stored is not None:
            masks.append(transform.mask(Image.fromarray(stored.astype(np.uint8))).float())
        else:
            masks.append(torch.zeros(size, size))
    return {"images": torch.stack(images), "masks": torch.stack(masks).unsqueeze(1)}


def _visual(method: FaPrompt, batch: Batch) -> Tensors:
    layers = (method.clip.n_layers,)
    image, patches = visual_features(method.clip, batch.images, layers, **method.feature_settings())
    return {"image_features_norm": image, "patch_tokens_norm": patches[:, 0]}


def _text(method: FaPrompt, patches: Tensor, output: FaPromptOutputs) -> Tensors:
    learner = method.prompt_learner
    return {
        "prompt_embeddings_normal": learner.normal_embeddings(method.clip, _RECORDED_POSITIONS)[0],
        "prompt_embeddings_abnormal": learner.abnormal_embeddings(method.clip, _RECORDED_POSITIONS),
        "text_raw_normal": output.raw.normal[0],
        "text_raw_abnormal": output.raw.abnormal,
        "text_raw_abnormal_prior": output.raw.abnormal_prior,
        "text_features_noprior": output.text,
        "text_features_prior": output.text_prior,
        "prior_bias": output.raw.prior,
        "selected_tokens": method.chosen_patches(patches, output.patch),
        "topk_indices": output.patch.topk(method.settings.num_prior_patches, dim=1).indices,
    }


def _maps(method: FaPrompt, features: Mapping[str, Tensor], output: FaPromptOutputs) -> Tensors:
    values = {}
    for name, probability in (("noprior", output.patch), ("prior", output.patch_prior)):
        resized = method.resized(probability)
        values[f"map_{name}"] = torch.stack([1 - resized, resized], dim=1)
        values[f"patch_prob_{name}"] = torch.stack([1 - probability, probability], dim=-1)
        values[f"max_{name}"] = probability.amax(dim=1)
    values["global_prob"] = method.global_logits(features, output).softmax(dim=-1)[:, 1]
    values["image_score"] = method.image_scores(features, output)
    raw = method.map_before_smoothing(output)
    return values | {"anomaly_map_raw": raw, "anomaly_map": smooth(raw, method.settings.gaussian_sigma)}


def _infer(method: FaPrompt, case: Mapping[str, Any], batch: Batch) -> Tensors:
    features = method.encode(batch)
    output = method.outputs(features)
    prediction = method.score(features, batch)
    assert prediction.scores is not None
    assert isinstance(prediction.maps, Tensor)
    values = _visual(method, batch) | _text(method, features["patches"], output) | _maps(method, features, output)
    return values | class_metrics(case, batch, prediction.scores, prediction.maps)


def _forward(method: FaPrompt, batch: Batch) -> tuple[Tensors, Tensors]:
    features = method.encode(batch)
    output = method.outputs(features)
    values = _visual(method, batch) | _text(method, features["patches"], output) | _maps(method, features, output)
    values["global_logits"] = method.global_logits(features, output)
    pixel = torch.zeros((), device=batch.images.device)
    parts = zip(method.settings.local_weights, ("noprior", "prior"), (output.patch, output.patch_prior), strict=True)
    for weight, name, probability in parts:
        local = method.local_terms(method.resized(probability), batch)
        values |= {f"term_{key}_{name}": value.reshape(1) for key, value in local.items()}
        pixel = pixel + weight * torch.stack(list(local.values())).sum()
    image = method.image_terms(features, output, batch)
    losses = {
        "loss_pixel": pixel,
        "loss_image_ce": image["ce"],
        "loss_image_focal": image["score_focal"],
        "loss_ortho": overlap(output.raw.abnormal),
        "loss_prior": method.prior_term(output, batch),
        "loss_total": torch.stack(list(method.loss(features, batch).values())).sum(),
    }
    return losses, values
