"""Weights load from every format that users have; what does not fit is one clear line."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from adbench.clip import load_clip
from adbench.clip.loading import clip_from_state
from adbench.errors import UserError
from tiny import TINY, make_tiny_clip


class Node(torch.nn.Module):
    """A tree of modules that only hold tensors: what a scripted CLIP stores, without its code."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def save_as_openai(state, file: Path) -> None:
    """Write a TorchScript archive in the format of OpenAI's release: fp16 tensors and three extra numbers."""
    root = Node()
    numbers = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    tensors = {key: value.half() for key, value in state.items()}
    tensors.update({key: torch.tensor(number) for key, number in numbers.items()})
    for key, value in tensors.items():
        node = root
        *parents, leaf = key.split(".")
        for name in parents:
            if not hasattr(node, name):
                node.add_module(name, Node())
            node = getattr(node, name)
        node.register_buffer(leaf, value)
    torch.jit.script(root).save(file)


@pytest.fixture
def state():
    return {key: value.clone() for key, value in make_tiny_clip().model.state_dict().items()}


@pytest.fixture
def tiny_architecture(monkeypatch):
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(TINY) if name == "tiny" else None)


def write(state, tmp_path: Path, kind: str) -> Path:
    file = tmp_path / f"weights{kind}"
    if kind == ".safetensors":
        save_file(state, file)
    elif kind == ".bin":
        torch.save(state, file)
    elif kind == ".pth":
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    return file


@pytest.mark.parametrize("kind", [".safetensors", ".bin", ".pth"])
@pytest.mark.usefixtures("tiny_architecture")
def test_local_files_load(state, tmp_path, kind):
    clip = load_clip("tiny", checkpoint=write(state, tmp_path, kind))
    assert clip.weights_sha256 == make_tiny_clip().weights_sha256
    assert clip.source == f"weights{kind}"


@pytest.mark.usefixtures("tiny_architecture")
def test_openai_archive_loads_and_is_known_to_be_quick_gelu(state, tmp_path):
    file = tmp_path / "ViT-tiny.pt"
    save_as_openai(state, file)
    with pytest.raises(UserError, match=r"trained with QuickGELU.*quick_gelu=true to match the weights, or false"):
        load_clip("tiny", checkpoint=file)
    clip = load_clip("tiny", checkpoint=file, quick_gelu=False)
    assert_close(clip.model.visual.proj, state["visual.proj"].half().float())
    assert clip.dtype == torch.float32


def test_unknown_backbone_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'ViT-L-14-336'"):
        load_clip("vit-l-14-336x")


def test_unknown_tag_lists_the_known():
    with pytest.raises(UserError, match="laion2b_s34b_b88k"):
        load_clip("ViT-B-16", pretrained="laion")


@pytest.mark.usefixtures("tiny_architecture")
def test_what_is_no_number_of_a_clip_is_named(state, tmp_path):
    state["visual.proj"][3, 2] = float("nan")
    with pytest.raises(UserError, match=r"visual\.proj holds values that are not finite"):
        load_clip("tiny", checkpoint=write(state, tmp_path, ".safetensors"))
    state["visual.proj"] = torch.zeros_like(state["visual.proj"], dtype=torch.int64)
    with pytest.raises(UserError, match=r"visual\.proj holds int64 instead of float32"):
        load_clip("tiny", checkpoint=write(state, tmp_path, ".bin"))


@pytest.mark.parametrize("content", [b"", b"x" * 300, b'{"model_type": "clip"}'])
def test_a_demo_clip_that_is_none_is_one_line(tmp_path, content):
    (tmp_path / "demo.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"demo\.safetensors"):
        load_clip("demo", checkpoint=tmp_path / "demo.safetensors")
    with pytest.raises(UserError, match="weights file not found"):
        load_clip("demo", checkpoint=tmp_path / "none.safetensors")


def test_other_weights_are_no_demo_clip(state, tmp_path):
    save_file(state, tmp_path / "a.safetensors", metadata={"model_cfg": '{"text_cfg": 3}'})
    with pytest.raises(UserError, match="this is no demo CLIP"):
        load_clip("demo", checkpoint=tmp_path / "a.safetensors")


@pytest.mark.usefixtures("tiny_architecture")
def test_weights_of_another_model_are_refused(state, tmp_path):
    state["visual.proj"] = torch.zeros(48, 16)
    with pytest.raises(UserError, match=r"visual\.proj is \(48, 16\) instead of \(48, 32\)"):
        load_clip("tiny", checkpoint=write(state, tmp_path, ".safetensors"))
    del state["ln_final.bias"]
    with pytest.raises(UserError, match=r"missing ln_final\.bias"):
        load_clip("tiny", checkpoint=write(state, tmp_path, ".safetensors"))


def test_quick_gelu_mismatch_is_an_error_unless_meant(monkeypatch, state, tmp_path):
    file = write(state, tmp_path, ".safetensors")
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(TINY))
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: {"quick_gelu": True, "url": "x"})
    monkeypatch.setattr(open_clip, "download_pretrained", lambda cfg: str(file))
    with pytest.raises(UserError, match=r"trained with QuickGELU.*clip\.quick_gelu=true"):
        load_clip("ViT-B-16", pretrained="openai")
    images = torch.randn(2, 3, 32, 32)
    outputs = []
    for meant in (True, False):
        clip = load_clip("ViT-B-16", pretrained="openai", quick_gelu=meant)
        assert clip.quick_gelu is meant
        expected = make_tiny_clip(quick_gelu=meant).encode_image(images)
        assert_close(clip.encode_image(images), expected, atol=1e-5, rtol=1e-5)
        outputs.append(clip.encode_image(images))
    assert not torch.allclose(*outputs, atol=1e-3)


def test_failed_download_says_what_to_do(monkeypatch):
    def refuse(cfg):
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: {"url": "x"})
    monkeypatch.setattr(open_clip, "download_pretrained", refuse)
    with pytest.raises(UserError, match=r"no route to host.*clip\.checkpoint=FILE"):
        load_clip("ViT-B-16", pretrained="openai", quick_gelu=True)


def test_scalar_and_vector_logit_scale_both_load(state):
    state["logit_scale"] = state["logit_scale"].reshape(1)
    clip = clip_from_state(TINY, state, name="tiny", source="test", quick_gelu=False)
    assert clip.model.logit_scale.shape == ()


def test_half_precision_weights_are_cast_up(state):
    half = {key: value.half() for key, value in state.items()}
    clip = clip_from_state(TINY, half, name="tiny", source="test", quick_gelu=False)
    assert clip.dtype == torch.float32
    assert_close(clip.model.visual.proj, half["visual.proj"].float())


def test_towers_of_other_kinds_are_refused_clearly():
    for tower in ({"timm_model_name": "vit_medium_patch16_gap_256"}, {"layers": [3, 4, 6, 3], "width": 64}):
        config = {"embed_dim": 32, "vision_cfg": tower, "text_cfg": TINY["text_cfg"]}
        with pytest.raises(UserError, match=r"ViT .*or a ConvNeXt image tower"):
            clip_from_state(config, {}, name="c", source="-", quick_gelu=False)


def test_random_weights_are_of_the_right_size_and_follow_the_seed(tiny_architecture):
    torch.manual_seed(1)
    first = load_clip("tiny", pretrained="random", image_size=48, quick_gelu=True)
    torch.manual_seed(1)
    second = load_clip("tiny", pretrained="random")
    assert (first.source, first.image_size, first.quick_gelu) == ("random", 48, True)
    assert first.weights_sha256 == second.weights_sha256
    assert {key: value.shape for key, value in first.model.state_dict().items()} == {
        key: value.shape for key, value in make_tiny_clip().model.state_dict().items()
    }
