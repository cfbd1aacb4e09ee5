"""AnomalyCLIP against its specification: a slow second implementation, every switch, weights and checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from adbench.engine.weights import hyperparameters
from adbench.errors import UserError
from adbench.methods import build
from adbench.methods.base import Method
from object_agnostic import AnomalyClipBySpecification, move_deep_tokens_beyond_half_precision
from tiny import make_batch, make_tiny_clip

SMALL = {"n_ctx": 6, "deep_depth": 3, "dpam_layer": 3, "gaussian_sigma": 0.0}


def make_method(clip=None, **settings) -> Method:
    torch.manual_seed(0)
    method = build("anomalyclip", clip or make_tiny_clip(), **SMALL | settings)
    with torch.no_grad():  # far enough from zero for every token to matter
        for parameter in method.parameters():
            parameter.mul_(20)
    return method


def total_loss(method, batch):
    return torch.stack(list(method.loss(method.encode(batch), batch).values())).sum()


# settings of the method, of the specification's constructor, of its `predict`, of its `loss`
SWITCHES = {
    "default": ({}, {}, {}, {}),
    "layers": ({"features_list": [1, 3, 4]}, {"layers": [1, 3, 4]}, {}, {}),
    "layers in any order": ({"features_list": [4, 1, 3, 3]}, {"layers": [1, 3, 4]}, {}, {}),
    "first layer left out": ({"features_list": [1, 3, 4], "feature_map_layer": [1, 0]}, {"layers": [3, 4]}, {}, {}),
    "deeper V-V": ({"dpam_layer": 5}, {"dpam_layer": 5}, {}, {}),
    "shallowest V-V": ({"dpam_layer": 2}, {"dpam_layer": 2}, {}, {}),
    "ln_post": ({"cls_ln_post": True}, {"cls_ln_post": True}, {}, {}),
    "no full stop": ({"prompt_suffix": ""}, {"suffix": ()}, {}, {}),
    "no half cast": ({"deep_token_half_cast": False}, {"half_cast": False}, {}, {}),
    "temperature": ({"temperature": 0.2}, {}, {"temperature": 0.2}, {"temperature": 0.2}),
    "lambda": ({"lambda_local": 1.5}, {}, {}, {"lambda_local": 1.5}),
    "paper": (
        {"variant": "paper"},
        {"layers": [1, 2, 3, 4], "cls_ln_post": True, "suffix": ()},
        {},
        {"lambda_local": 1.0},
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_predictions_and_loss_follow_the_specification(name):
    ours, constructor, predict, loss = SWITCHES[name]
    method, batch = make_method(**ours), make_batch()
    theirs = AnomalyClipBySpecification(method, **{"layers": [4], "dpam_layer": 3} | constructor)
    prediction = method.predict(batch)
    scores, maps = theirs.predict(batch, **predict)
    assert_close(prediction.scores, scores, atol=1e-5, rtol=1e-5)
    assert_close(prediction.maps, maps, atol=1e-5, rtol=1e-5)
    assert_close(total_loss(method, batch), theirs.loss(batch, **loss), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in SWITCHES if name not in ("default", "layers in any order")])
def test_every_switch_changes_something(name):
    batch, changed, default = make_batch(), make_method(**SWITCHES[name][0]), make_method()
    if name == "no half cast":
        move_deep_tokens_beyond_half_precision(changed, default)
    assert abs(total_loss(changed, batch) - total_loss(default, batch)) > 1e-3


def test_gradients_are_those_of_the_specification_and_reach_every_learnable():
    method, batch = make_method(deep_token_half_cast=False), make_batch()
    total_loss(method, batch).backward()
    named = method.learnable_parameters()
    theirs = AnomalyClipBySpecification(method, layers=[4], dpam_layer=3, half_cast=False)
    expected = torch.autograd.grad(theirs.loss(batch), list(named.values()))
    for (name, parameter), gradient in zip(named.items(), expected, strict=True):
        assert gradient.abs().max() > 0, name
        assert_close(parameter.grad, gradient, atol=1e-5 * float(gradient.abs().max()) + 1e-7, rtol=1e-3)
    assert all(parameter.grad is None for parameter in method.clip.parameters())


def test_images_of_another_size_resize_the_native_positions():
    clip = make_tiny_clip(image_size=45)  # 5 patches a side and a remainder
    method, batch = make_method(clip), make_batch(size=45)
    theirs = AnomalyClipBySpecification(method, layers=[4], dpam_layer=3)
    for _ in range(2):
        prediction = method.predict(batch)
        assert_close(prediction.maps, theirs.predict(batch)[1], atol=1e-5, rtol=1e-5)
    assert prediction.maps.shape == (4, 45, 45)


def test_prompts_have_the_tokens_of_the_specification(tmp_path):
    method = build("anomalyclip", make_tiny_clip(), dpam_layer=3)
    method.save_official(tmp_path / "epoch_1.pth")
    state = torch.load(tmp_path / "epoch_1.pth", weights_only=True)["prompt_learner"]
    normal, abnormal = (state[f"tokenized_prompts_{key}"][0, 0].tolist() for key in ("pos", "neg"))
    assert normal[:17] == [49406, *[343] * 12, 14115, 269, 49407, 0]
    assert abnormal[:18] == [49406, *[343] * 12, 13568, 14115, 269, 49407, 0]
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert shapes["token_prefix_pos"] == shapes["token_prefix_neg"] == (1, 1, 1, 32)
    assert shapes["token_suffix_pos"] == shapes["token_suffix_neg"] == (1, 1, 64, 32)
    assert shapes["ctx_pos"] == shapes["ctx_neg"] == (1, 1, 12, 32)
    assert shapes["compound_prompts_text.7"] == (4, 32)
    assert shapes["compound_prompt_projections.7.weight"] == (896, 32)
    assert state["tokenized_prompts_pos"].dtype == torch.int32
    assert len(shapes) == 2 + 6 + 8 + 16


def test_deep_tokens_beyond_the_tower_are_never_touched():
    method, batch = make_method(deep_depth=6), make_batch()  # 3 text blocks: tables 0 and 1 of 5 are used
    before = method.predict(batch).scores
    total_loss(method, batch).backward()
    touched = [table.grad is not None for table in method.compound_prompts_text]
    assert touched == [True, True, False, False, False]
    with torch.no_grad():
        method.compound_prompts_text[2].add_(1)
    assert_close(method.predict(batch).scores, before)


def test_text_is_encoded_once_for_the_same_weights_and_again_for_others(monkeypatch):
    method, batch = make_method(), make_batch()
    calls = []
    original = method.raw_text_features
    monkeypatch.setattr(method, "raw_text_features", lambda: calls.append(1) or original())
    first = method.predict(batch).scores
    method.predict(batch)
    assert len(calls) == 1
    optimizer = torch.optim.Adam(method.parameters(), lr=0.1)
    state = {key: value.clone() for key, value in method.learnable_state().items()}
    total_loss(method, batch).backward()
    optimizer.step()
    stepped = method.predict(batch).scores
    assert not torch.allclose(stepped, first)
    method.load_learnable_state(state)
    assert_close(method.predict(batch).scores, first)
    method.ctx_pos.data[..., :10] += 0.5  # behind autograd's back
    assert not torch.allclose(method.predict(batch).scores, first)


def test_official_checkpoint_round_trip_keeps_unused_projections(tmp_path):
    source, target = make_method(), build("anomalyclip", make_tiny_clip(), **SMALL)
    source.save_official(tmp_path / "a.pth")
    stored = torch.load(tmp_path / "a.pth", weights_only=True)
    stored["prompt_learner"]["compound_prompt_projections.1.bias"] += 7
    torch.save(stored, tmp_path / "b.pth")
    target.load_official(tmp_path / "b.pth")
    assert_close(target.learnable_state(), source.learnable_state())
    target.save_official(tmp_path / "c.pth")
    assert_close(torch.load(tmp_path / "c.pth", weights_only=True), stored)


@pytest.mark.parametrize(
    ("clip_seed", "settings", "message"),
    [
        (0, {"prompt_suffix": ""}, "prompts .*are not those of this method's settings"),
        (0, {"n_ctx": 5}, "prompts .*are not those"),
        (0, {"abnormal_state_word": "broken"}, "prompts .tokenized_prompts_neg. are not those"),
        (0, {"deep_depth": 2}, r"unexpected compound_prompts_text\.1"),
        (1, {}, "another backbone"),
    ],
    ids=str,
)
def test_checkpoint_of_other_prompts_or_backbone_is_refused_whole(tmp_path, clip_seed, settings, message):
    make_method().save_official(tmp_path / "epoch_15.pth")
    method = make_method(make_tiny_clip(seed=clip_seed), **settings)
    before = {key: value.clone() for key, value in method.learnable_state().items()}
    with pytest.raises(UserError, match=message):
        method.load_official(tmp_path / "epoch_15.pth")
    assert_close(method.learnable_state(), before)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", {"state_dict": {}}], ids=repr)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    file = tmp_path / "epoch_15.pth"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(UserError, match=r"epoch_15\.pth"):
        make_method().load_official(file)


def test_every_setting_is_remembered_and_builds_the_same_method():
    method, batch = make_method(variant="paper", gaussian_sigma=1.0, lambda_local=2.0), make_batch()
    remembered = hyperparameters(method)
    assert set(remembered) == set(type(method).hyperparameter_defaults())
    again = build("anomalyclip", make_tiny_clip(), **remembered)
    again.load_learnable_state(method.learnable_state())
    assert torch.equal(again.predict(batch).maps, method.predict(batch).maps)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dpam_layer": 1}, "dpam_layer is 1, outside 2 to 5"),
        ({"dpam_layer": 6}, "dpam_layer is 6"),
        ({"features_list": [5]}, "features_list names block 5"),
        ({"feature_map_layer": [1]}, "feature_map_layer is .1."),
        ({"feature_map_layer": []}, "feature_map_layer is"),
        ({"variant": "offical"}, "unknown value 'offical'"),
        ({"filler": "xqzt"}, "filler 'xqzt' is not one token"),
        ({"n_ctx": 80}, "the text tower takes 77"),
        ({"deep_depth": 0}, "deep_depth is 0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"gaussian_sigma": -1.0}, "gaussian_sigma is -1.0"),
        ({"lambda": 4}, "did you mean 'method.lambda_local'"),
    ],
    ids=str,
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(UserError, match=f"(?i){message}"):
        make_method(**settings)
