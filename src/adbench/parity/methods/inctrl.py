"""InCTRL's parity cases: the ordinary method, its intermediates under the fixtures' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.methods.inctrl.method import InCtrl, InCtrlOutputs
from adbench.parity.from_case import case_batches, case_method, given

Arrays = Mapping[str, np.ndarray]
Tensors = dict[str, Tensor]
_RENAMED = {"out_layers_1based": "out_layers"}
_IN_FLOAT64 = ("s_a", "s_i", "residual_map", "max_residual", "holistic_score", "final_score")


def run_case(case: Mapping[str, Any], tensors: Arrays) -> dict[str, np.ndarray]:
    """Compute an inference case (it has `input/images`) or a training case (`input/image_pool`)."""
    if "input/image_pool" in tensors:
        values = {f"expected/{key}": value for key, value in _train(case, tensors, torch.float32).items()}
        values |= {f"expected64/{key}": value for key, value in _train(case, tensors, torch.float64).items()}
    else:
        values = {f"expected/{key}": value for key, value in _infer(case, tensors).items()}
        if "hyperparameters_batched" in case:
            batched = {**case, "hyperparameters": case["hyperparameters_batched"]}
            values |= {f"expected_batched/{key}": value for key, value in _infer_as_one_call(batched, tensors).items()}
    return {key: _array(value) for key, value in values.items()}


def _array(value: Tensor) -> np.ndarray:
    array = value.detach().cpu().numpy()
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _method(case: Mapping[str, Any], tensors: Arrays, dtype: torch.dtype) -> InCtrl:
    settings = {_RENAMED.get(key, key): value for key, value in case["hyperparameters"].items()}
    loss = settings.pop("loss", None)
    if loss is not None:
        settings |= dict.fromkeys(
            ("image_loss", "final_loss"), "bce" if loss in ("bce", "binary_cross_entropy") else "focal"
        )
    known = InCtrl.hyperparameter_defaults()
    method = case_method(case, tensors, {key: value for key, value in settings.items() if key in known})
    assert isinstance(method, InCtrl)
    method.clip.to(dtype)
    return method.to(dtype)


# Inference


def _infer(case: Mapping[str, Any], tensors: Arrays) -> Tensors:
    """Each query alone where the batch would matter, else all as one batch."""
    method = _method(case, tensors, torch.float32).eval()
    alone = method.mixes_batch
    parts = [_infer_batch(method, batch, tensors) for batch in case_batches(case, tensors, 1 if alone else None)]
    values = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    values["query_tokens"] = values["query_tokens"].transpose(0, 1)  # (L, B, P, V)
    support = _support(case_batches(case, tensors)[0], tensors)
    prompt_features, prompt_patches = method.raw_features(support.images)
    return values | {"prompt_cls": prompt_features, "prompt_tokens": prompt_patches.transpose(0, 1)}


def _infer_as_one_call(case: Mapping[str, Any], tensors: Arrays) -> Tensors:
    method = _method(case, tensors, torch.float32).eval()
    (batch,) = case_batches(case, tensors)
    return _infer_batch(method, batch, tensors)


def _support(batch: Batch, tensors: Arrays) -> Batch:
    """The prompt list of an inference case, shared by all queries."""
    images = given(tensors["input/prompts"])
    labels, paths = (
        torch.zeros(len(images), dtype=torch.long, device=images.device),
        [f"prompt {k}" for k in range(len(images))],
    )
    return Batch(images, labels, batch.class_names[:1] * len(images), paths, batch.dataset)


@torch.no_grad()
def _infer_batch(method: InCtrl, batch: Batch, tensors: Arrays) -> Tensors:
    for name in dict.fromkeys(batch.class_names):
        method.adapt(name, _support(batch, tensors))
    features = method.encode(batch)
    output = method.outputs(features, batch)
    prediction = method.score(features, batch)
    assert prediction.scores is not None
    values = _forward_tensors(output)
    values["query_cls"], values["query_tokens"] = method.raw_features(batch.images)
    return values | {"image_score": output.s_i, "final_score": prediction.scores}


def _forward_tensors(output: InCtrlOutputs) -> Tensors:
    values = {
        "text_features": output.text,
        "text_logits": output.text_logits,
        "adapted_query": output.adapted_query,
        "adapted_prompt_mean": output.comparison.adapted_prompts,
        "image_residual": output.image_residual,
        "layer_maps": output.comparison.layer_maps,
        "residual_map": output.residual_map,
        "max_residual": output.s_p,
        "holistic_map": output.holistic_map,
        "holistic_score": output.holistic_score,
        "s_a": output.s_a,
        "s_i": output.s_i,
        "final_score": output.final_score,
    }
    if output.comparison.prompts is not None:
        values["prompt_cls_grouped"] = output.comparison.prompts
    return {key: value.detach().clone() for key, value in values.items()}


# Training


def _train(case: Mapping[str, Any], tensors: Arrays, dtype: torch.dtype) -> Tensors:
    """AdamW on the batches that the case lists, in train mode."""
    settings = case["hyperparameters"]
    method = _method(case, tensors, dtype).train()
    optimizer = torch.optim.AdamW(
        method.learnable_parameters().values(),
        lr=settings["lr"],
        betas=tuple(settings["betas"]),
        eps=settings.get("eps", 1e-8),
        weight_decay=settings["weight_decay"],
    )
    values: Tensors = {}
    losses = []
    n_steps = len(tensors["input/query_index"])
    for step in range(n_steps):
        batch = _training_batch(case, tensors, step, dtype)
        features = method.encode(batch)
        state = {key: value.clone() for key, value in method.state_dict().items()}
        with torch.no_grad():  # a forward pass of its own, whose effect on running statistics is undone
            output = method.outputs(features, batch)
        method.load_state_dict(state)
        values |= {f"step{step + 1}/{key}": value for key, value in _step_tensors(method, output, batch).items()}
        terms = method.loss(features, batch)
        total = terms["final"] + terms["image"]
        losses.append(torch.stack([terms["final"], terms["image"], total]).detach())
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        if step == 0:
            values |= _gradients(method)
        optimizer.step()
        if step in (0, n_steps - 1):
            after = {key: value.clone() for key, value in method.learnable_state().items()}
            values |= {f"after{step + 1}/{key}": value for key, value in after.items()}
    return values | {"losses": torch.stack(losses)}


def _step_tensors(method: InCtrl, output: InCtrlOutputs, batch: Batch) -> Tensors:
    ours = _forward_tensors(output)
    if method.clip.dtype == torch.float64:
        return {key: ours[key] for key in _IN_FLOAT64}
    n = len(batch)
    assert batch.support is not None
    queries, query_patches = method.raw_features(batch.images)
    prompts, prompt_patches = method.raw_features(batch.support.images)

    def shot_major(values: Tensor) -> Tensor:
        return values.reshape(n, -1, *values.shape[1:]).transpose(0, 1).flatten(0, 1)  # (B * K, ...) -> (K * B, ...)

    return ours | {
        "query_cls": queries,
        "prompt_cls": shot_major(prompts),
        "query_tokens_flat_mean": query_patches.mean(-1).transpose(0, 1),
        "prompt_tokens_flat_mean": shot_major(prompt_patches).mean(-1).transpose(0, 1),
    }


def _gradients(method: InCtrl) -> Tensors:
    values = {key: p.grad.clone() for key, p in method.learnable_parameters().items() if p.grad is not None}
    total = torch.stack([value.norm() for value in values.values()]).norm()
    return {f"grad/{key}": value for key, value in values.items()} | {"grad_norm_total": total}


def _training_batch(case: Mapping[str, Any], tensors: Arrays, step: int, dtype: torch.dtype) -> Batch:
    names = [case["class_names"][index] for index in tensors["input/pool_class"]]

    def pick(indices: np.ndarray) -> Batch:
        return Batch(
            images=given(tensors["input/image_pool"][indices]).to(dtype),
            labels=given(np.zeros(len(indices), np.int64)),
            class_names=[names[index] for index in indices],
            paths=[str(index) for index in indices],
            dataset="parity",
        )

    labels = given(tensors["input/labels"][step])
    support = pick(tensors["input/prompt_index"][step].reshape(-1))  # query-major
    return replace(pick(tensors["input/query_index"][step]), labels=labels, support=support)
