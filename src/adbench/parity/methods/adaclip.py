"""AdaCLIP's parity cases: the ordinary method, its intermediates under the fixtures' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.clip.prompts import ADACLIP_ENSEMBLE
from adbench.data.sample import Batch
from adbench.methods.adaclip.method import AdaClip, AdaClipOutputs
from adbench.methods.maps import smooth, to_grid
from adbench.parity.from_case import case_batches, case_method, recorded

Arrays = dict[str, np.ndarray]
Tensors = dict[str, Tensor]
_RENAMED = {
    "image_focal": "loss_cls_focal",
    "pixel_focal": "loss_seg_focal",
    "dice_abnormal": "loss_dice_abnormal",
    "dice_normal": "loss_dice_normal",
}


def run_case(case: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Arrays:
    """Compute a case of kind inference, training or losses_and_gradients.

    Upstream runs one image per call. Here the images of a case form one batch, except that training steps once per
    image, as upstream does.
    """
    settings = case["hyperparameters"]
    given = {key: settings[key] for key in AdaClip.hyperparameter_defaults() if key in settings}
    method = case_method(case, tensors, {**given, "kmeans_stream": "running"})
    assert isinstance(method, AdaClip)
    (batch,) = case_batches(case, tensors)
    if settings.get("np_seed") is not None and method.random_state is not None:
        method.random_state.seed(settings["np_seed"])
    values = _frozen(method, batch)
    if case["kind"] == "inference":
        values |= _infer(method, batch)
    elif case["kind"] == "training":
        values |= _train(method, case_batches(case, tensors, 1), settings)
    else:
        values |= _losses_and_gradients(method, batch)
    return recorded(values)


def _frozen(method: AdaClip, batch: Batch) -> Tensors:
    clip = method.clip
    ids = torch.stack([method.token_ids(name) for name in batch.class_names])
    n_normal = len(ADACLIP_ENSEMBLE.normal) * len(ADACLIP_ENSEMBLE.templates)
    with torch.no_grad():
        embedded = clip.model.visual.ln_pre(clip.embed_image(batch.images))
    values = {
        "token_ids_normal": ids[:, :n_normal],
        "token_ids_abnormal": ids[:, n_normal:],
        "patch_embedding": embedded,
        "resized_positional_embedding": clip.positions((clip.grid, clip.grid)),
    }
    features = method.encode(batch)
    if method.dynamic:
        values["frozen_pooled"] = features["pooled"]
    return values


def _intermediates(method: AdaClip, output: AdaClipOutputs) -> Tensors:
    names = {
        "dynamic_visual": output.dynamic_visual,
        "dynamic_text": output.dynamic_text,
        "prompted_pooled": output.pooled,
        "patch_tokens": output.patch_tokens,
        "proj_patch": output.proj_patch,
        "proj_cls": output.proj_cls,
        "text_features": output.text,
        "hsf_feature": output.hsf,
        "layer_logits": to_grid(output.layer_logits, method.clip.grid),
        "score_probs": output.image_logits.softmax(-1),
    }
    return {name: value.detach() for name, value in names.items() if value is not None}


def _infer(method: AdaClip, batch: Batch) -> Tensors:
    with torch.no_grad():
        output = method.outputs(method.encode(batch), batch)
        maps = method.map_before_smoothing(output)
        return _intermediates(method, output) | {
            "anomaly_map": maps,
            "anomaly_map_smoothed": smooth(maps, method.settings.gaussian_sigma),
            "anomaly_score": output.image_logits.softmax(-1)[:, 1],
        }


def _forward(method: AdaClip, batch: Batch) -> tuple[Tensors, Tensor]:
    """Everything recorded of a forward pass, and the losses per image (B,) that are to be minimised."""
    output = method.outputs(method.encode(batch), batch)
    terms = method.loss_terms(output, batch)
    totals = torch.stack([term.reshape(len(batch), -1).sum(1) for term in terms.values()]).sum(0)
    values = _intermediates(method, output) | {"loss_total": totals.detach()}
    values |= {_RENAMED[name]: term.detach() for name, term in terms.items()}
    abnormal, normal = method.layer_probabilities(output)
    values["layer_probs_step0"] = torch.stack([normal[:1], abnormal[:1]], dim=2).detach()  # (1, layers, 2, S, S)
    return values, totals


def _gradients(method: AdaClip) -> Tensors:
    named = method.learnable_parameters()
    return {key: torch.zeros_like(p) if p.grad is None else p.grad.clone() for key, p in named.items()}


def _norms(gradients: Tensors) -> Tensor:
    return torch.stack([value.norm() for value in gradients.values()])


def _train(method: AdaClip, batches: Sequence[Batch], settings: Mapping[str, Any]) -> Tensors:
    optimizer = torch.optim.AdamW(
        method.learnable_parameters().values(),
        lr=settings["learning_rate"],
        betas=tuple(settings["adamw_betas"]),
        eps=settings["adamw_eps"],
        weight_decay=settings["adamw_weight_decay"],
    )
    steps, norms = [], []
    first: Tensors = {}
    for batch in batches:
        values, totals = _forward(method, batch)
        optimizer.zero_grad(set_to_none=True)
        totals.mean().backward()
        gradients = _gradients(method)
        first = first or gradients
        norms.append(_norms(gradients))
        steps.append(values)
        optimizer.step()
    values = {key: torch.cat([step[key] for step in steps]) for key in steps[0]}
    values |= {"layer_probs_step0": steps[0]["layer_probs_step0"], "grad_norms": torch.stack(norms)}
    values |= {f"grad_step0/{key}": value for key, value in first.items()}
    return values | {f"weights_after/{key}": value for key, value in method.learnable_state().items()}


def _losses_and_gradients(method: AdaClip, batch: Batch) -> Tensors:
    values, totals = _forward(method, batch)
    totals.mean().backward()
    gradients = _gradients(method)
    for name in (*_RENAMED.values(), "loss_total"):
        values[f"batch_mean_{name}"] = values[name].mean(dim=0)
    values |= {f"batch_mean_grad/{key}": value for key, value in gradients.items()}
    return values | {"batch_mean_grad_norms": _norms(gradients)}
