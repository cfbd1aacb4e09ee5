"""The optimiser over a method's learnable parameters, and its step.

Parameters that get no gradient keep `grad is None` (gradients are reset to None, never to zero): torch.optim skips
them, so neither weight decay nor momentum touches what the loss does not.
"""

from __future__ import annotations

from typing import Any

import torch

from adbench.engine import ranks
from adbench.engine.settings import OptimizerSpec
from adbench.errors import UserError
from adbench.methods.base import Method


def parameter_names(method: Method) -> list[str]:
    """Names of the learnable parameters in the order in which the optimiser numbers them: group by group."""
    return [name for group in method.parameter_groups() for name in group.names]


def build_optimizer(method: Method, spec: OptimizerSpec) -> torch.optim.Optimizer:
    """An optimiser over `method.parameter_groups()`. Raises UserError if there is nothing to learn."""
    named = method.learnable_parameters()
    if not named:
        raise UserError(
            f"method {method.name} has nothing to learn", where="method", hint="run `eval` with it directly"
        )
    groups: list[dict[str, Any]] = [
        {
            "params": [named[name] for name in group.names],
            "lr": spec.lr * group.lr_factor,
            "lr_factor": group.lr_factor,
            "clip_norm": group.clip_norm,
            "weight_decay": spec.weight_decay if group.weight_decay is None else group.weight_decay,
        }
        for group in method.parameter_groups()
        if group.names
    ]
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum)
    adam = torch.optim.AdamW if spec.name == "adamw" else torch.optim.Adam
    return adam(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps)


def take_step(
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    loss: torch.Tensor | None,
    spec: OptimizerSpec,
    *,
    step: int,
    n_steps: int,
    n_epochs: int = 1,
) -> None:
    """Backward pass and optimiser step number `step` (from 0) of `n_steps` in `n_epochs`: all that the rates depend on.

    Gradients are summed over the ranks; `loss` None: this one adds nothing.
    """
    for group in optimizer.param_groups:
        group["lr"] = spec.lr_at(step, n_steps, n_epochs, factor=group["lr_factor"])
    optimizer.zero_grad(set_to_none=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    scaled = scaler.scale(torch.zeros((), device=parameters[0].device) if loss is None else loss)
    if loss is not None:
        torch.autograd.backward(scaled)
    ranks.sum_gradients(parameters)
    limits = [(group["params"], group["clip_norm"]) for group in optimizer.param_groups]
    limits = [(clipped, limit) for clipped, limit in [*limits, (parameters, spec.clip_norm)] if limit is not None]
    if limits:
        scaler.unscale_(optimizer)
    for clipped, limit in limits:
        torch.nn.utils.clip_grad_norm_(clipped, limit)
    scaler.step(optimizer)
    scaler.update()
