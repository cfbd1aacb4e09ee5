"""VL4AD's weights go by FC-CLIP's names: its checkpoints load, ours load there, and only learned tensors are kept."""

from __future__ import annotations

import pytest
import torch

from adbench.engine.weights import WeightsRecord, backbone, hyperparameters, load_weights, save_weights
from adbench.errors import UserError
from adbench.methods.vl4ad.official import from_official, official_names, to_official
from tiny import make_tiny_clip, make_tiny_convnext
from tiny_vl4ad import make_scenes, make_vl4ad


@pytest.fixture(scope="module")
def convnext():
    return make_tiny_convnext()


def maps(method):
    return method.eval().predict(make_scenes(1)).maps[0]


def test_every_tensor_has_an_official_name_and_comes_back(convnext):
    method = make_vl4ad(convnext)
    own = {key: value for key, value in method.state_dict().items() if not key.startswith("criterion.")}
    official = to_official(method.state_dict())
    assert all(name.startswith(("sem_seg_head.", "void_embedding.")) for name in official)
    packed = official["sem_seg_head.predictor.transformer_self_attention_layers.1.self_attn.in_proj_weight"]
    attention = method.decoder.transformer.decoder.layers[1].self_attn
    assert torch.equal(packed, torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]))
    back = from_official(official, own)
    assert back.keys() == own.keys()
    assert all(torch.equal(back[key], own[key]) for key in own)
    assert sum(map(len, official_names(method.state_dict()).values())) == len(own)


@pytest.mark.parametrize("make", [make_tiny_convnext, make_tiny_clip])
def test_learned_weights_without_the_backbone_make_the_same_maps(make):
    clip = make()
    first, second = make_vl4ad(clip, seed=1), make_vl4ad(clip, seed=2)
    assert not torch.allclose(maps(first), maps(second), atol=1e-4)
    state = first.learnable_state()
    assert not [key for key in state if key.startswith(("backbone", "clip", "criterion"))]
    assert any(key.startswith("pyramid.") for key in state) == (clip.kind == "vit")
    second.load_learnable_state(state)
    assert torch.equal(maps(first), maps(second))


def test_an_fcclip_checkpoint_loads_and_its_backbone_is_left_aside(convnext, tmp_path):
    first, second = make_vl4ad(convnext, seed=1), make_vl4ad(convnext, seed=2)
    first.save_official(tmp_path / "ours.pth")
    state = torch.load(tmp_path / "ours.pth", weights_only=True)["model"]
    state |= {"backbone.clip_model.visual.trunk.stem.0.weight": torch.zeros(1), "criterion.empty_weight": torch.ones(5)}
    torch.save({"model": state}, tmp_path / "fcclip.pth")
    second.load_official(tmp_path / "fcclip.pth")
    assert torch.equal(maps(first), maps(second))


def test_weights_of_other_sizes_are_named(convnext, tmp_path):
    make_vl4ad(convnext, num_queries=12).save_official(tmp_path / "big.pth")
    with pytest.raises(UserError, match=r"query_feat\.weight is \(12, 32\) instead of \(8, 32\).*big\.pth"):
        make_vl4ad(convnext).load_official(tmp_path / "big.pth")
    method = make_vl4ad(convnext)
    state = method.learnable_state()
    del state["void_embedding.weight"]
    with pytest.raises(UserError, match=r"missing void_embedding\.weight"):
        method.load_learnable_state(state)


def record_of(method) -> WeightsRecord:
    return WeightsRecord(
        method="vl4ad", hyperparameters=hyperparameters(method), backbone=backbone(method), data=None, seed=1
    )


def test_words_and_switches_of_testing_may_differ_from_those_of_training(convnext, tmp_path):
    trained = make_vl4ad(convnext, seed=1)
    save_weights(trained, tmp_path / "weights.safetensors", record_of(trained))
    tested = make_vl4ad(convnext, seed=2, merge="kinds", ood="near", out_vocab=True, short_side=96)
    load_weights(tested, tmp_path / "weights.safetensors")
    assert all(torch.equal(a, tested.learnable_state()[key]) for key, a in trained.learnable_state().items())
    with pytest.raises(UserError, match=r"method\.concepts_train 'many' then, 'names' now"):
        load_weights(make_vl4ad(convnext, concepts_train="names"), tmp_path / "weights.safetensors")
