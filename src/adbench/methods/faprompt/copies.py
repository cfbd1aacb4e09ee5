"""One computation that stands for many equal ones, each with a gradient of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Compute = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def for_equal(compute: Compute, tensors: Sequence[Tensor]) -> list[Tensor]:
    """compute(tensors) where each tensor (n, ...) holds n equal entries: runs on the first, repeats the results.

    compute takes tensors (1, ...) and returns such, computed from all of them and from constants. The backward pass is
    that of n computations: every entry gets the gradient of its own copy of the results.
    """
    if torch.is_grad_enabled():
        return list(_ForEqual.apply(compute, *tensors))
    n = len(tensors[0])
    return [result.expand(n, *result.shape[1:]) for result in compute([tensor[:1] for tensor in tensors])]


class _ForEqual(torch.autograd.Function):
    """Keeps the graph of the one computation and runs it backward for all entries at once."""

    @staticmethod
    def forward(ctx: Any, compute: Compute, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.first = [tensor[:1].detach().requires_grad_() for tensor in tensors]
        # Without fused attention: its backward pass has no batched form (`vmap` would go entry by entry).
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            ctx.results = compute(ctx.first)
        return tuple(result.detach().expand(len(tensors[0]), *result.shape[1:]) for result in ctx.results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        def one(*gradients: Tensor) -> Sequence[Tensor]:
            of_first: Sequence[Tensor] = torch.autograd.grad(
                ctx.results, ctx.first, [g.unsqueeze(0) for g in gradients]
            )
            return of_first

        return None, *(gradient.squeeze(1) for gradient in torch.func.vmap(one)(*gradients))
