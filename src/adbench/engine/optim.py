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
    """Names of the learnable parameters in the order in which the optimiser numbers them: undecayed ones last."""
    spared = method.undecayed_parameters()
    return sorted(method.learnable_parameters(), key=lambda name: name in spared)


def build_optimizer(method: Method, spec: OptimizerSpec) -> torch.optim.Optimizer:
    """A parameter group over `method.learnable_parameters()`, and one without weight decay where the method names some.

    Raises UserError if there is nothing to learn.
    """
    named, spared = method.learnable_parameters(), method.undecayed_parameters()
    if not named:
        raise UserError(
            f"method {method.name} has nothing to learn", where="method", hint="run `eval` with it directly"
        )
    names = parameter_names(method)
    groups: list[dict[str, Any]] = [{"params": [named[name] for name in names if name not in spared]}]
    groups.append({"params": [named[name] for name in names if name in spared], "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay)
    adam = torch.optim.AdamW if spec.name == "adamw" else torch.optim.Adam
    return adam(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay)


def take_step(
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    loss: torch.Tensor | None,
    spec: OptimizerSpec,
    *,
    step: int,
    n_steps: int,
) -> None:
    """Backward pass and optimiser step number `step` (from 0) of `n_steps`; the rate depends on nothing else.

    Gradients are summed over the ranks; `loss` None: this one adds nothing.
    """
    for group in optimizer.param_groups:
        group["lr"] = spec.lr_at(step, n_steps)
    optimizer.zero_grad(set_to_none=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    scaled = scaler.scale(torch.zeros((), device=parameters[0].device) if loss is None else loss)
    if loss is not None:
        torch.autograd.backward(scaled)
    ranks.sum_gradients(parameters)
    if spec.clip_norm is not None:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, spec.clip_norm)
    scaler.step(optimizer)
    scaler.update()
