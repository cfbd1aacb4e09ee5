"""The optimiser over a method's learnable parameters.

Parameters that get no gradient keep `grad is None` (gradients are reset to None, never to zero): torch.optim skips
them, so neither weight decay nor momentum touches what the loss does not.
"""

from __future__ import annotations

import torch

from adbench.engine.settings import OptimizerSpec
from adbench.errors import UserError
from adbench.methods.base import Method


def build_optimizer(method: Method, spec: OptimizerSpec) -> torch.optim.Optimizer:
    """One parameter group over `method.learnable_parameters()`, in their order. Raises UserError if there are none."""
    parameters = list(method.learnable_parameters().values())
    if not parameters:
        raise UserError(
            f"method {method.name} has nothing to learn", where="method", mend="run `eval` with it directly"
        )
    if spec.name == "sgd":
        return torch.optim.SGD(parameters, lr=spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay)
    adam = torch.optim.AdamW if spec.name == "adamw" else torch.optim.Adam
    return adam(parameters, lr=spec.lr, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay)
