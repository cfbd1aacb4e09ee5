"""VisualAD's parity cases: the ordinary method and the ordinary optimiser, intermediates under the fixtures' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.engine.optim import build_optimizer, take_step
from adbench.engine.settings import OptimizerSpec
from adbench.methods.visualad.method import VisualAd, VisualAdOutputs
from adbench.methods.visualad.official import nested
from adbench.parity.from_case import case_batches, case_method, class_metrics, gradients, recorded

Tensors = dict[str, Tensor]


def run_case(case: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute a case of kind infer (all images as one batch) or train."""
    settings = case["hyperparameters"]
    given = {key: value for key, value in settings.items() if key in VisualAd.hyperparameter_defaults()}
    method = case_method(case, tensors, given, wrap=nested)
    assert isinstance(method, VisualAd)
    if case["kind"] == "infer":
        (batch,) = case_batches(case, tensors)
        with torch.no_grad():
            return recorded(_infer(method, case, batch))
    return recorded(_train(method, settings, case_batches(case, tensors, case["batch_size"])))


def _infer(method: VisualAd, case: Mapping[str, Any], batch: Batch) -> Tensors:
    features = method.encode(batch)
    outputs = method.outputs(features, trained_ln_post=method.settings.load_ln_post, dropout=None)
    prediction = method.score(features, batch)
    assert prediction.scores is not None
    assert isinstance(prediction.maps, Tensor)
    values = _levels(method, outputs) | {
        "anomaly_features": outputs.anomaly,
        "normal_features": outputs.normal,
        **{f"tokens_layer{layer:02d}_image0": outputs.rows[layer][0] for layer in method.layers},
        "anomaly_map_raw": outputs.maps.sum(dim=1),
        "anomaly_map": prediction.maps,
        "image_score": prediction.scores,
    }
    return values | class_metrics(case, batch, prediction.scores, prediction.maps)


def _levels(method: VisualAd, outputs: VisualAdOutputs) -> Tensors:
    values = {}
    levels = zip(method.layers, outputs.level_anomaly, outputs.level_normal, outputs.maps.unbind(dim=1), strict=True)
    for layer, anomaly, normal, map_ in levels:
        values[f"anomaly_token_layer{layer:02d}"] = anomaly
        values[f"normal_token_layer{layer:02d}"] = normal
        values[f"map_layer{layer:02d}"] = map_
    return values


def _train(method: VisualAd, settings: Mapping[str, Any], batches: Sequence[Batch]) -> Tensors:
    """Steps in the order of the batches, every epoch anew."""
    rate, n_epochs = settings["learning_rate"], settings["epochs"]
    spec = OptimizerSpec(
        name="adamw",
        lr=rate,
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
        schedule="cosine",
        min_lr=0.1 * rate,
    )
    optimizer, scaler = build_optimizer(method, spec), torch.amp.GradScaler("cpu", enabled=False)
    method.train()
    ours: Tensors = {}
    per_step: list[Tensors] = []
    for step in range(settings["steps"]):
        batch = batches[step % len(batches)]
        outputs = method.training_outputs(method.encode(batch), batch)
        terms = method.loss_terms(outputs, batch)
        loss = torch.stack(list(terms.values())).sum()
        if step == 0:
            tokens = torch.autograd.grad(loss, [method.anomaly_token, method.normal_token], retain_graph=True)
            ours |= _levels(method, outputs) | {"token_grad_norm": torch.stack([grad.norm() for grad in tokens])}
        n_steps = n_epochs * len(batches)
        take_step(optimizer, scaler, loss, spec, step=step, n_steps=n_steps, n_epochs=n_epochs)
        if step == 0:
            ours |= gradients(method)
        rates = [torch.tensor(group["lr"], dtype=torch.float64) for group in optimizer.param_groups]
        per_step.append(
            {
                "loss_segmentation": terms["pixel_focal"] + terms["dice_abnormal"],
                "loss_classification": terms["image_cross_entropy"],
                "loss_contrastive": terms["contrastive"],
                "learning_rate_tokens": rates[0],
                "learning_rate_rest": rates[-1],
            }
        )
        ours |= {f"weights_after_{step + 1}/{name}": v.clone() for name, v in method.learnable_state().items()}
    return ours | {name: torch.stack([values[name].detach() for values in per_step]) for name in per_step[0]}
