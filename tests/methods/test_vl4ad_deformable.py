"""Deformable attention as one sum gives what the library's own, level by level, gives: values and gradients."""

from __future__ import annotations

import torch
from torch.testing import assert_close
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as Theirs,
)

from adbench.methods.vl4ad.deformable import DeformableAttention

SHAPES = [(2, 3), (4, 6), (8, 12)]
LENGTH = sum(height * width for height, width in SHAPES)


def inputs(dtype=torch.float64):
    """Queries, sequence, positions, reference points and padding of two images."""
    generator = torch.Generator().manual_seed(0)
    hidden, sequence, positions = (torch.randn(2, LENGTH, 32, generator=generator, dtype=dtype) for _ in range(3))
    reference = torch.rand(2, LENGTH, 3, 2, generator=generator, dtype=dtype)
    padding = torch.rand(2, LENGTH, generator=generator) < 0.1
    return hidden.requires_grad_(), sequence.requires_grad_(), positions, reference, padding


def attend(module, given):
    hidden, sequence, positions, reference, padding = given
    return module(
        hidden_states=hidden,
        attention_mask=padding,
        encoder_hidden_states=sequence,
        position_embeddings=positions,
        reference_points=reference,
        spatial_shapes_list=SHAPES,
    )[0]


def theirs():
    torch.manual_seed(1)
    module = Theirs(embed_dim=32, num_heads=4, n_levels=3, n_points=4).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # offsets of several pixels: many samples lie outside
    return module


def test_values_and_gradients_are_the_librarys():
    module = theirs()
    expected, found = inputs(), inputs()
    wanted, ours = attend(module, expected), attend(DeformableAttention(module), found)
    assert_close(ours, wanted, atol=1e-10, rtol=1e-10)
    weight = torch.randn(wanted.shape, dtype=wanted.dtype)
    parameters = list(module.parameters())
    first = torch.autograd.grad((wanted * weight).sum(), [*expected[:2], *parameters])
    second = torch.autograd.grad((ours * weight).sum(), [*found[:2], *parameters])
    for one, other in zip(first, second, strict=True):
        assert_close(other, one, atol=1e-9, rtol=1e-9)


def test_parameters_go_by_the_same_names():
    module = theirs()
    assert set(DeformableAttention(module).state_dict()) == set(module.state_dict())
