"""A compiled image tower: the same tokens, used where no gradient is needed, refused where it would be another."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from adbench.clip.compiled import compile_tower
from adbench.engine.device import resolve_device
from adbench.errors import UserError
from tiny import make_tiny_clip, make_tiny_convnext


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def pretend(monkeypatch, change):
    """`torch.compile` counts its calls, and gives what `change` makes of the plain result."""
    calls = []
    monkeypatch.setattr(
        torch, "compile", lambda run: lambda block, x: calls.append(x.requires_grad) or change(run(block, x))
    )
    return calls


@torch.no_grad()
def streams_of(clip, images):
    tokens = clip.embed_image(images)
    return clip.image_blocks(tokens, local_from=3, collect=[1, 4], collect_post_attention=[2], collect_local=[2, 4])


def test_blocks_that_are_asked_for_nothing_else_are_the_compiled_ones(monkeypatch, images):
    calls = pretend(monkeypatch, lambda x: x)
    plain, clip = make_tiny_clip(), compile_tower(make_tiny_clip())
    assert len(calls) == 4
    assert clip.describe() == {**plain.describe(), "compile": True}
    ours, theirs = streams_of(clip, images), streams_of(plain, images)
    assert len(calls) == 5  # the first block: the second is asked for more, the others have a local path
    for name in ("blocks", "post_attention", "local_blocks"):
        for number, value in getattr(theirs, name).items():
            assert torch.equal(getattr(ours, name)[number], value)
    assert torch.equal(ours.local, theirs.local)
    with torch.no_grad():
        assert torch.equal(clip.encode_image(images), plain.encode_image(images))
    assert len(calls) == 8  # the last block runs at the class token alone
    clip.image_blocks(clip.embed_image(images).requires_grad_())
    assert len(calls) == 8


def test_another_result_is_refused(monkeypatch):
    pretend(monkeypatch, lambda x: x * 1.001)
    with pytest.raises(UserError, match=r"the compiled tower differs by .* more than 0\.0001"):
        compile_tower(make_tiny_clip())


def test_what_does_not_compile_is_one_line(monkeypatch):
    def fail(x):
        raise RuntimeError("no C++ compiler\nmore")

    pretend(monkeypatch, fail)
    with pytest.raises(UserError, match=r"does not compile on cpu: no C\+\+ compiler \(clip\.compile\)"):
        compile_tower(make_tiny_clip())
    with pytest.raises(UserError, match="is no ViT"):
        compile_tower(make_tiny_convnext())


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.mark.slow  # a C++ compiler is at work
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, NEEDS_CUDA])])
def test_the_compilers_tower_is_the_plain_one(images, device):
    resolve_device(device)
    plain, clip = make_tiny_clip().to(device), compile_tower(make_tiny_clip().to(device))
    with torch.no_grad():
        for size in (32, 48):
            pictures = torch.nn.functional.interpolate(images, size).to(device)
            assert_close(clip.encode_image(pictures), plain.encode_image(pictures), atol=1e-4, rtol=1e-4)
