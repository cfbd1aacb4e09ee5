"""Weights load from every format that users have; what does not fit is one clear line."""

from __future__ import annotations

import os
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from adbench.clip import load_clip
from adbench.clip.loading import clip_from_state, read_state
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


def test_truncated_file_is_one_clear_line(state, tmp_path):
    for kind in (".safetensors", ".bin"):
        file = write(state, tmp_path, kind)
        os.truncate(file, file.stat().st_size // 2)
        with pytest.raises(UserError, match="cannot read the weights"):
            read_state(file)


def test_pickled_objects_are_refused(tmp_path):
    file = tmp_path / "evil.pt"
    torch.save({"state_dict": Path("x")}, file)
    with pytest.raises(UserError, match="cannot read the weights"):
        read_state(file)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"not found .*none\.pt"):
        read_state(tmp_path / "none.pt")


def test_unknown_backbone_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'ViT-L-14-336'"):
        load_clip("vit-l-14-336x")


def test_unknown_tag_lists_the_known():
    with pytest.raises(UserError, match="laion2b_s34b_b88k"):
        load_clip("ViT-B-16", pretrained="laion")


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
