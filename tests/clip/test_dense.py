"""Dense features: the same call for ConvNeXt and ViT towers, at any sides that are multiples of 32."""

from __future__ import annotations

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.testing import assert_close

from adbench.clip import Clip, load_clip, loading
from adbench.errors import UserError
from adbench.methods import build
from tiny import TINY, make_tiny_clip, make_tiny_convnext, tiny_convnext_config

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def make_vit(patch: int) -> Clip:
    vision = {**TINY["vision_cfg"], "image_size": 4 * patch, "patch_size": patch}
    with torch.random.fork_rng():
        torch.manual_seed(patch)
        model = open_clip.CLIP(**{**TINY, "vision_cfg": vision})
    return Clip(model, name="vit", source="random", quick_gelu=False)


def test_a_convnext_gives_its_four_stages():
    clip = make_tiny_convnext()
    assert (clip.kind, clip.dense_dim, clip.embed_dim) == ("convnext", 40, 32)
    assert clip.pyramid_channels == {4: 16, 8: 24, 16: 32, 32: 40}
    found = clip.dense(IMAGES)
    for stride, channels in clip.pyramid_channels.items():
        assert found.pyramid[stride].shape == (2, channels, 64 // stride, 96 // stride)
    x = clip.model.visual.trunk.stem(IMAGES)
    for stage, stride in zip(clip.model.visual.trunk.stages, (4, 8, 16, 32), strict=True):
        x = stage(x)
        assert torch.equal(found.pyramid[stride], x)
    assert torch.equal(found.dense, x)


@pytest.mark.parametrize("head", ["mlp", "linear"])
def test_a_convnexts_projection_of_the_pooled_map_is_its_image_feature(head):
    clip = make_tiny_convnext(head=head)
    dense = clip.dense(IMAGES).dense
    with torch.no_grad():
        assert_close(clip.project_dense(dense.mean(dim=(2, 3))), clip.model.visual(IMAGES), atol=1e-6, rtol=1e-5)
        per_pixel = clip.project_dense(dense.permute(0, 2, 3, 1))
    assert per_pixel.shape == (2, 2, 3, 32)


@pytest.mark.parametrize(("patch", "stride"), [(8, 8), (14, 16), (16, 16), (32, 32)])
def test_a_vit_gives_one_map_at_the_power_of_two_above_its_patch(patch, stride):
    clip = make_vit(patch)
    assert (clip.kind, clip.dense_dim, clip.pyramid_channels) == ("vit", 48, {stride: 48})
    found = clip.dense(IMAGES)
    assert found.pyramid[stride].shape == found.dense.shape == (2, 48, 64 // stride, 96 // stride)
    size = (64 // stride * patch, 96 // stride * patch)
    resized = F.interpolate(IMAGES, size, mode="bilinear", align_corners=False)
    with torch.no_grad():
        tokens = clip.image_blocks(clip.embed_image(resized)).tokens[:, 1:]
    assert_close(found.pyramid[stride].flatten(2).transpose(1, 2), tokens, atol=1e-5, rtol=1e-5)
    top_left = clip.project_dense(found.dense[:, :, 0, 0])
    assert_close(top_left, clip.project(tokens[:, 0]), atol=1e-5, rtol=1e-5)


def test_positions_are_resized_bicubically_for_rectangles():
    clip = make_vit(16)
    table = clip.model.visual.positional_embedding
    grid = table[1:].reshape(1, 4, 4, 48).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=(3, 7), mode="bicubic", align_corners=False, antialias=False)
    assert_close(clip.positions((3, 7))[1:], resized.flatten(2)[0].T)
    assert torch.equal(clip.positions((3, 7))[0], table[0])


def test_towers_stay_in_evaluation_mode_without_gradient():
    clip = make_tiny_convnext()
    first = clip.dense(IMAGES)
    clip.train()
    assert not clip.model.visual.training
    again = clip.dense(IMAGES)  # the tower has a drop-path rate of 0.5, active if it were in training mode
    assert all(torch.equal(first.pyramid[stride], again.pyramid[stride]) for stride in first.pyramid)
    assert not first.dense.requires_grad


@pytest.mark.parametrize("make", [make_tiny_convnext, make_tiny_clip])
def test_other_sides_are_refused(make):
    with pytest.raises(UserError, match=r"images are 80x64: .* multiples of 32"):
        make().dense(torch.zeros(1, 3, 64, 80))


@pytest.fixture
def convnext_config(monkeypatch):
    config = tiny_convnext_config()
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: config if name == "convnext_tiny_test" else None)
    return config


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.clip_model."])
@pytest.mark.usefixtures("convnext_config")
def test_a_convnext_loads_from_a_local_file(tmp_path, prefix):
    wanted = make_tiny_convnext(seed=3)
    state = {f"{prefix}{key}": value for key, value in wanted.model.state_dict().items()}
    file = tmp_path / "weights.pth"
    if prefix.startswith("backbone"):  # a checkpoint of FC-CLIP holds its frozen CLIP beside what it has learned
        torch.save({"model": {**state, "sem_seg_head.predictor.logit_scale": torch.zeros(())}}, file)
    else:
        torch.save(state, file)
    clip = load_clip("convnext_tiny_test", checkpoint=file)
    assert clip.weights_sha256 == wanted.weights_sha256
    assert torch.equal(clip.dense(IMAGES).dense, wanted.dense(IMAGES).dense)


@pytest.mark.usefixtures("convnext_config")
def test_a_convnext_loads_by_tag(monkeypatch, tmp_path):
    file = tmp_path / "open_clip_model.safetensors"
    save_file({key: value.contiguous() for key, value in make_tiny_convnext().model.state_dict().items()}, file)
    facts = {"hf_hub": "x/y", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: facts if tag == "laion" else {})
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: ["laion"])
    monkeypatch.setattr(loading, "obtain", lambda facts, name, tag: file)
    clip = load_clip("convnext_tiny_test", pretrained="laion")
    assert (clip.source, clip.mean) == ("laion", (0.5, 0.5, 0.5))
    with pytest.raises(UserError, match=r"unknown pretrained tag of convnext_tiny_test 'laion2b'"):
        load_clip("convnext_tiny_test", pretrained="laion2b")


def test_text_is_encoded_as_open_clip_does():
    clip = make_tiny_convnext()
    ids = clip.tokenize(["road", "a photo of a car."])
    with torch.no_grad():
        assert_close(clip.encode_text(ids), clip.model.encode_text(ids), atol=1e-5, rtol=1e-5)


def test_methods_that_edit_tokens_refuse_a_convnext():
    with pytest.raises(UserError, match=r"adaclip works on vit image towers, tiny_convnext has a convnext"):
        build("adaclip", make_tiny_convnext())


def test_the_toy_convnext_is_the_same_every_time():
    first, second = load_clip("toy_convnext"), load_clip("toy_convnext")
    assert first.kind == "convnext"
    assert first.weights_sha256 == second.weights_sha256
    assert float(first.dense(IMAGES).dense.std()) > 0.1  # a signal gets through the random stages
    with pytest.raises(UserError, match="weights of toy_convnext are drawn at random"):
        load_clip("toy_convnext", checkpoint="file.pt")
