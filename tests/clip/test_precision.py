"""A backbone held in less than float32: methods see float32 near the plain one's, and it stays the backbone it is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.testing import assert_close

from adbench.clip import load_clip
from adbench.clip.precision import hold
from adbench.errors import UserError
from tiny import make_tiny_clip, make_tiny_convnext

ERRORS = {"bfloat16": 2e-2, "float16": 3e-3}  # of features of unit length


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("precision", ERRORS)
def test_features_are_float32_and_near_those_of_float32(images, precision):
    plain, clip = make_tiny_clip(), hold(make_tiny_clip(), precision)
    ids = clip.tokenize(["a photo of a cat.", "hazelnut"])
    streams, exact = (one.image_blocks(one.embed_image(images), local_from=2, collect=[1, 4]) for one in (clip, plain))
    pairs = [
        (clip.encode_image(images), plain.encode_image(images)),
        (clip.encode_text(ids), plain.encode_text(ids)),
        (streams.local, exact.local),
        (streams.blocks[4], exact.blocks[4]),
    ]
    for ours, theirs in pairs:
        unit, wanted = (torch.nn.functional.normalize(x, dim=-1) for x in (ours, theirs))
        assert ours.dtype == torch.float32
        assert_close(unit, wanted, atol=ERRORS[precision], rtol=0)
        assert not torch.equal(ours, theirs)


def test_the_tower_computes_what_rounded_matrices_give(images):
    rounded = make_tiny_clip()
    for block in [*rounded.model.visual.transformer.resblocks, *rounded.model.transformer.resblocks]:
        for parameter in [*block.attn.parameters(), *block.mlp.parameters()]:
            parameter.data = parameter.data.bfloat16().float()
    clip = hold(make_tiny_clip(), "bfloat16")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = rounded.encode_image(images)
    assert_close(clip.encode_image(images), expected.float(), atol=3e-2, rtol=1e-2)
    held = {str(p.dtype) for b in clip.model.visual.transformer.resblocks for p in [*b.attn.parameters()]}
    assert held == {"torch.bfloat16"}
    assert {clip.model.visual.conv1.weight.dtype, clip.model.visual.proj.dtype, clip.dtype} == {torch.float32}


def test_gradients_reach_edited_tokens_through_held_blocks(images):
    gradients = []
    for clip in (make_tiny_clip(), hold(make_tiny_clip(), "bfloat16")):
        tokens = clip.embed_image(images).requires_grad_()
        clip.image_blocks(tokens).tokens.square().mean().backward()
        gradients.append(tokens.grad)
    assert gradients[1].dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(*(g.flatten() for g in gradients), dim=0) > 0.99


@pytest.mark.parametrize("precision", ERRORS)
def test_a_convnext_gives_float32_maps(images, precision):
    plain, clip = make_tiny_convnext(), hold(make_tiny_convnext(), precision)
    ours, theirs = clip.dense(images), plain.dense(images)
    for stride, level in theirs.pyramid.items():
        assert ours.pyramid[stride].dtype == torch.float32
        assert_close(ours.pyramid[stride], level, atol=float(level.abs().max()) * 5 * ERRORS[precision], rtol=0)
    vectors = ours.dense.mean(dim=(2, 3))
    assert clip.project_dense(vectors).dtype == torch.float32


def test_it_is_known_by_the_hash_of_its_weights_and_says_its_precision():
    plain, clip = load_clip("demo"), load_clip("demo", dtype="bfloat16")
    assert clip.weights_sha256 == plain.weights_sha256
    assert (plain.describe()["dtype"], clip.describe()["dtype"]) == ("float32", "bfloat16")
    assert copy.deepcopy(clip).weights_sha256 == plain.weights_sha256


def test_weights_beyond_float16_are_refused():
    clip = make_tiny_clip()
    clip.model.transformer.resblocks[0].mlp.c_fc.weight.data[0, 0] = 1e6
    with pytest.raises(UserError, match="exceeds the range of float16"):
        hold(clip, "float16")


def test_a_device_without_that_precision_is_refused_in_one_line(monkeypatch):
    clip = make_tiny_clip()

    def missing(*arguments, **keywords):
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'\nmore")

    monkeypatch.setattr(torch.nn.functional, "linear", missing)
    with pytest.raises(UserError, match=r"cpu does not compute in float16.*not implemented for 'Half' ") as caught:
        hold(clip, "float16")
    assert "more" not in str(caught.value)
