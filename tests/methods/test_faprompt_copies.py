"""One computation that stands for many equal ones gives each its own gradient."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from adbench.methods.faprompt.copies import for_equal


def compute(tensors):
    a, b = tensors
    heads = (a + b).unflatten(-1, (2, 4)).transpose(1, 2)
    attended = F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
    return [F.layer_norm(attended, (8,)), (a * b).sum(dim=1)]


def equal_entries(n):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, 3, 8, generator=generator).expand(n, -1, -1).clone().requires_grad_() for _ in range(2)]


@pytest.mark.parametrize("n", [1, 5])
def test_values_and_every_gradient_are_those_of_separate_computations(n):
    tensors = equal_entries(n)
    ours, theirs = for_equal(compute, tensors), compute(tensors)
    weights = [torch.randn_like(result) for result in theirs]
    assert_close(ours, list(theirs), atol=1e-6, rtol=1e-6)
    gradients = [torch.autograd.grad(results, tensors, weights) for results in (ours, theirs)]
    assert_close(*gradients, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert_close(for_equal(compute, tensors), list(theirs), atol=1e-6, rtol=1e-6)


def test_the_backward_pass_takes_all_entries_at_once():
    tensors = equal_entries(4)
    torch._C._debug_only_display_vmap_fallback_warnings(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # PyTorch warns where it goes entry by entry
            torch.stack([result.sum() for result in for_equal(compute, tensors)]).sum().backward()
    finally:
        torch._C._debug_only_display_vmap_fallback_warnings(False)
    assert all(tensor.grad is not None for tensor in tensors)


def test_computed_once():
    sizes = []

    def spy(tensors):
        sizes.append(len(tensors[0]))
        return compute(tensors)

    results = for_equal(spy, equal_entries(6))
    torch.stack([result.sum() for result in results]).sum().backward()
    assert sizes == [1]
    assert [len(result) for result in results] == [6, 6]
