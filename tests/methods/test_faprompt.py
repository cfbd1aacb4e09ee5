"""FAPrompt against its specification: a slow second implementation, every switch, weights and checkpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from adbench.engine.weights import hyperparameters
from adbench.errors import UserError
from adbench.methods import build
from object_agnostic import FaPromptBySpecification, move_deep_tokens_beyond_half_precision
from tiny import make_batch, make_tiny_clip, rows

SMALL = {
    "n_ctx_pos": 5,
    "n_ctx_neg": 2,
    "num_abnormal_prompts": 3,
    "num_prior_patches": 4,
    "deep_depth": 3,
    "dpam_layer": 3,
    "gaussian_sigma": 0.0,
}


def make_method(clip=None, **settings):
    torch.manual_seed(0)
    method = build("faprompt", clip or make_tiny_clip(), **SMALL | settings)
    with torch.no_grad():  # far enough from zero for every token to matter
        for name, parameter in method.learnable_parameters().items():
            parameter.mul_(3 if name.startswith("patch_meta_net") else 20)
    return method


def by_specification(method, **settings):
    return FaPromptBySpecification(method, **{"dpam_layer": 3, "n_prior": 4} | settings)


def total_loss(method, batch):
    return torch.stack(list(method.loss(method.encode(batch), batch).values())).sum()


# settings of the method, of the specification's constructor, of its `loss`
SWITCHES = {
    "default": ({}, {}, {}),
    "top_m": ({"dap_select": "top_m"}, {"select": "top_m"}, {}),
    "other state word": ({"abnormal_state_word": "object"}, {"state": (14115,)}, {}),
    "no state word": ({"abnormal_state_word": ""}, {"state": ()}, {}),
    "no full stop": ({"prompt_suffix": ""}, {"suffix": ()}, {}),
    "temperature": ({"temperature": 0.2}, {"temperature": 0.2}, {}),
    "score weights": ({"score_map_weights": [0.5, 0.5]}, {"score_weights": (0.5, 0.5)}, {}),
    "ln_post": ({"cls_ln_post": True}, {"cls_ln_post": True}, {}),
    "no half cast": ({"deep_token_half_cast": False}, {"half_cast": False}, {}),
    "V-V everywhere": ({"dpam_layer": 5}, {"dpam_layer": 5}, {}),
    "ortho": ({"ortho_weight": 1.0}, {}, {"ortho": 1.0}),
    "sum of squares": ({"prior_reduce": "sum"}, {}, {"sum_squares": True}),
    "local weights": ({"local_weights": [0.3, 2.0]}, {}, {"local": (0.3, 2.0)}),
    "local with prior only": ({"local_weights": [0, 1]}, {}, {"local": (0.0, 1.0)}),
    "ce only": ({"global_losses": ["ce"]}, {}, {"score_focal": False}),
    "focal only": ({"global_losses": ["score_focal"]}, {}, {"ce": False}),
    "no sigmoid": ({"score_focal_logits": False}, {}, {"sigmoid": False}),
    "paper": (
        {"variant": "paper"},
        {"select": "top_m", "state": (), "suffix": (), "score_weights": (0.5, 0.5), "cls_ln_post": True},
        {"local": (0.0, 1.0), "ortho": 2.0, "sum_squares": True, "ce": False, "sigmoid": False},
    ),
    "paper but": (
        {"variant": "paper", "dap_select": "first_m", "global_losses": ["ce"]},
        {"state": (), "suffix": (), "score_weights": (0.5, 0.5), "cls_ln_post": True},
        {"local": (0.0, 1.0), "ortho": 2.0, "sum_squares": True, "score_focal": False},
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_predictions_and_loss_follow_the_specification(name):
    ours, constructor, loss = SWITCHES[name]
    method, batch = make_method(**ours), make_batch()
    theirs = by_specification(method, **constructor)
    prediction = method.predict(batch)
    with torch.no_grad():
        scores, maps = theirs.predict(batch)
    assert_close(prediction.scores, scores, atol=1e-5, rtol=1e-5)
    assert_close(prediction.maps, maps, atol=1e-5, rtol=1e-5)
    assert_close(total_loss(method, batch), theirs.loss(batch, **loss), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in SWITCHES if name != "default"])
def test_every_switch_changes_something(name):
    batch, changed, default = make_batch(), make_method(**SWITCHES[name][0]), make_method()
    if name == "no half cast":
        move_deep_tokens_beyond_half_precision(changed, default)
    assert abs(total_loss(changed, batch) - total_loss(default, batch)) > 1e-4


@pytest.mark.parametrize("name", ["default", "paper"])
def test_gradients_are_those_of_the_specification_and_reach_every_learnable(name):
    ours, constructor, loss = SWITCHES[name]
    method, batch = make_method(**ours, deep_token_half_cast=False), make_batch()
    total_loss(method, batch).backward()
    named = method.learnable_parameters()
    theirs = by_specification(method, half_cast=False, **constructor)
    expected = torch.autograd.grad(theirs.loss(batch, **loss), list(named.values()))
    for (key, parameter), gradient in zip(named.items(), expected, strict=True):
        assert gradient.abs().max() > 0, key
        assert_close(parameter.grad, gradient, atol=1e-5 * float(gradient.abs().max()) + 1e-7, rtol=1e-3)
    assert all(parameter.grad is None for parameter in method.clip.parameters())


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_batches_of_one_label(labels):
    method, batch = make_method(), replace(make_batch(), labels=torch.tensor(labels))
    terms = method.loss(method.encode(batch), batch)
    assert (float(terms["prior"].detach()) == 0) == all(labels)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad.isfinite().all() for p in method.learnable_parameters().values())
    assert_close(total_loss(method, batch), by_specification(method).loss(batch), atol=1e-5, rtol=1e-5)


def test_the_prior_loss_grows_with_the_number_of_normal_images():
    method, batch = make_method(), make_batch(2)
    twice = replace(batch, images=batch.images[[0, 0]], labels=batch.labels[[0, 0]], masks=batch.masks[[0, 0]])
    once, double = (method.loss(method.encode(b), b)["prior"] for b in (rows(batch, slice(0, 1)), twice))
    assert_close(double, 2 * once)


def test_first_m_reads_the_first_patches_and_top_m_the_most_abnormal_ones():
    patches = torch.nn.functional.normalize(torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(0)), dim=-1)
    probability = torch.tensor([list(range(16)), [0, 9, 1, 8, *[0.5] * 12]], dtype=torch.float32) / 20
    assert torch.equal(make_method().chosen_patches(patches, probability), patches[:, :4])
    top = make_method(dap_select="top_m", num_prior_patches=2).chosen_patches(patches, probability)
    assert torch.equal(top, torch.stack([patches[0, [15, 14]], patches[1, [1, 3]]]))


@pytest.mark.parametrize("select", ["first_m", "top_m"])
def test_rows_through_the_text_tower_are_as_few_as_the_gradient_allows(monkeypatch, select):
    method, batch = make_method(dap_select=select), make_batch(4)
    shapes = []
    original = method.clip.text_blocks

    def spy(text, **options):
        shapes.append(tuple(text.tokens.shape[:2]))
        return original(text, **options)

    monkeypatch.setattr(method.clip, "text_blocks", spy)
    features = method.encode(batch)
    method.loss(features, batch)
    # Start and V tokens are run once for all. Behind them: A, A, damaged, object, full stop, end; or the last three.
    # The normal prompt comes once more per image, since every copy of the deep tokens rounds its gradient.
    abnormal = [(15, 6)] if select == "first_m" else [(3, 6), (12, 6)]
    assert shapes == [(5, 3), *abnormal]
    shapes.clear()
    with torch.no_grad():
        method.score(features, batch)
        method.score(features, batch)
    assert shapes == [(1, 3), (3, 6), (12, 6), (12, 6)]


# Deep tokens as many as the V tokens, more (they take A's places, and more than the normal prompt has room for), none.
DEEP = [{}, {"deep_tokens": 5}, {"deep_tokens": 6}, {"deep_tokens": 9, "n_ctx_pos": 1}, {"deep_depth": 1}]


@pytest.mark.parametrize("settings", [*DEEP, {"dap_select": "top_m"}, {"deep_token_half_cast": False}], ids=str)
def test_gradients_are_those_of_prompts_one_by_one_each_with_its_own_rounded_copies(settings):
    method, batch = make_method(**settings), make_batch()
    theirs = by_specification(
        method, select=settings.get("dap_select", "first_m"), half_cast=settings.get("deep_token_half_cast", True)
    )
    total_loss(method, batch).backward()
    named = {key: p for key, p in method.learnable_parameters().items() if p.grad is not None}
    expected = torch.autograd.grad(theirs.loss(batch), list(named.values()))
    for (key, parameter), gradient in zip(named.items(), expected, strict=True):
        error = (parameter.grad - gradient).abs() / gradient.abs().max().clamp(min=1e-9)
        # Here and there a copy lies between two fp16 numbers and falls to the other side; rounding the sum of copies
        # instead of each, or nothing at all, would move nearly every element.
        assert error.max() < 1e-3, key
        assert (error > 2e-6).float().mean() < (0.1 if key.startswith("compound") else 1e-9), key
    with torch.no_grad():
        assert_close(method.predict(batch).scores, theirs.predict(batch)[0], atol=1e-5, rtol=1e-5)


def test_prompts_have_the_tokens_of_the_specification(tmp_path):
    method = build("faprompt", make_tiny_clip(), dpam_layer=3)
    method.save_official(tmp_path / "epoch_7.pth")
    state = torch.load(tmp_path / "epoch_7.pth", weights_only=True)["prompt_learner"]
    assert state["tokenized_prompts_pos"][0, 0, :10].tolist() == [49406, *[333] * 5, 14115, 269, 49407, 0]
    abnormal = [49406, *[333] * 5, 320, 320, 13568, 14115, 269, 49407, 0]
    assert state["tokenized_prompts_neg"][0, :, :13].tolist() == [abnormal] * 10
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert (shapes["ctx_pos"], shapes["ctx_neg"]) == ((1, 1, 5, 32), (1, 10, 2, 32))
    assert (shapes["token_prefix_neg"], shapes["token_suffix_neg"]) == ((1, 10, 1, 32), (1, 10, 69, 32))
    assert (shapes["token_prefix_pos"], shapes["token_suffix_pos"]) == ((1, 1, 1, 32), (1, 1, 71, 32))
    assert shapes["patch_meta_net.linear1.weight"] == (20, 320)  # M * C / 16, M * C
    assert shapes["patch_meta_net.linear2.weight"] == (32, 20)
    assert shapes["compound_prompt_projections.7.bias"] == (896,)
    assert len(shapes) == 2 + 6 + 4 + 8 + 16


def test_deep_tokens_beyond_the_tower_are_never_touched():
    method, batch = make_method(deep_depth=6), make_batch()  # 3 text blocks: tables 0 and 1 of 5 are used
    before = method.predict(batch).scores
    total_loss(method, batch).backward()
    tables = method.prompt_learner.compound_prompts_text
    assert [table.grad is not None for table in tables] == [True, True, False, False, False]
    with torch.no_grad():
        tables[2].add_(torch.randn(4, 32))
    assert_close(method.predict(batch).scores, before)


def test_cached_text_follows_training_steps_and_loading():
    method, batch = make_method(), make_batch()
    state = {key: value.clone() for key, value in method.learnable_state().items()}
    first = method.predict(batch).scores
    total_loss(method, batch).backward()
    torch.optim.Adam(method.learnable_parameters().values(), lr=0.05).step()
    assert_close(method.predict(batch).scores, by_specification(method).predict(batch)[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(method.predict(batch).scores, first)
    method.load_learnable_state(state)
    assert_close(method.predict(batch).scores, first)


def test_official_checkpoint_round_trip_keeps_unused_projections(tmp_path):
    source, target = make_method(), build("faprompt", make_tiny_clip(), **SMALL)
    source.save_official(tmp_path / "a.pth")
    stored = torch.load(tmp_path / "a.pth", weights_only=True)
    stored["prompt_learner"]["compound_prompt_projections.1.weight"] += 7
    torch.save(stored, tmp_path / "b.pth")
    target.load_official(tmp_path / "b.pth")
    assert_close(target.learnable_state(), source.learnable_state())
    target.save_official(tmp_path / "c.pth")
    assert_close(torch.load(tmp_path / "c.pth", weights_only=True), stored)


@pytest.mark.parametrize(
    ("clip_seed", "settings", "message"),
    [
        (0, {"prompt_suffix": ""}, "prompts .*are not those of this method's settings"),
        (0, {"n_ctx_neg": 3}, "prompts .tokenized_prompts_neg. are not those"),
        (0, {"num_abnormal_prompts": 4}, "prompts .tokenized_prompts_neg. are not those"),
        (0, {"num_prior_patches": 5}, r"patch_meta_net\.linear1\.weight is"),
        (1, {}, "another backbone"),
    ],
    ids=str,
)
def test_checkpoint_of_other_prompts_or_backbone_is_refused_whole(tmp_path, clip_seed, settings, message):
    make_method().save_official(tmp_path / "epoch_7.pth")
    method = make_method(make_tiny_clip(seed=clip_seed), **settings)
    before = {key: value.clone() for key, value in method.learnable_state().items()}
    with pytest.raises(UserError, match=message):
        method.load_official(tmp_path / "epoch_7.pth")
    assert_close(method.learnable_state(), before)


def test_every_setting_is_remembered_and_builds_the_same_method():
    method, batch = make_method(variant="paper", gaussian_sigma=1.0, ortho_weight=0.3), make_batch()
    remembered = hyperparameters(method)
    assert set(remembered) == set(type(method).hyperparameter_defaults())
    again = build("faprompt", make_tiny_clip(), **remembered)
    again.load_learnable_state(method.learnable_state())
    assert torch.equal(again.predict(batch).maps, method.predict(batch).maps)


def test_paper_size_has_the_count_of_weights_of_the_specification():
    clip = make_tiny_clip()
    clip.embed_dim = clip.text_width = 768
    method = build("faprompt", clip, dpam_layer=3)
    counts = {"patch_meta_net": 0, "compound_prompts_text": 0, "ctx_pos": 0, "ctx_neg": 0}
    for key, parameter in method.learnable_parameters().items():
        counts[key.split(".")[0]] += parameter.numel()
    assert counts["compound_prompts_text"] == 24_576
    assert counts["ctx_pos"] + counts["ctx_neg"] == 19_200
    assert counts["patch_meta_net"] == 7680 * 480 + 480 + 480 * 768 + 768


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "code"}, "unknown value 'code'"),
        ({"dap_select": "top"}, "unknown value 'top' .*did you mean 'top_m'"),
        ({"prior_reduce": "max"}, "unknown value 'max'"),
        ({"global_losses": ["bce"]}, "unknown value 'bce'"),
        ({"local_weights": [1.0]}, "local_weights is .1.0."),
        ({"score_map_weights": [0.5, -0.5]}, "score_map_weights is"),
        ({"score_map_weights": [1.0, 1.0], "score_focal_logits": False}, "score_map_weights sum to 2"),
        ({"num_prior_patches": 17}, "num_prior_patches is 17, outside 1 to 16"),
        ({"num_abnormal_prompts": 0}, "num_abnormal_prompts is 0"),
        ({"dpam_layer": 20}, "dpam_layer is 20, outside 2 to 5"),
        ({"abnormal_filler": "xqzt"}, "must be one token each"),
        ({"features_list": [4]}, "unknown setting 'method.features_list'"),
    ],
    ids=str,
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(UserError, match=f"(?i){message}"):
        make_method(**settings)
