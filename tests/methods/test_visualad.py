"""VisualAD against its specification: a plain second computation, every switch, weights and checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from adbench.errors import UserError
from adbench.methods import build
from adbench.methods.visualad.layers import ImageDropout
from cli.on_benchmarks import rows_of_a_set_alone
from tiny import make_batch, make_tiny_clip, rows

SMALL = {"gaussian_sigma": 0.0, "dropout": 0.0, "pos_encoding_rows": 20}


def make_method(clip=None, **settings):
    torch.manual_seed(0)
    method = build("visualad", clip or make_tiny_clip(), **SMALL | settings)
    with torch.no_grad():  # far from initial values, so that everything matters
        for parameter in method.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    return method


def by_specification(method, image, layers, *, trained):
    """Tokens a, n, and per level (a_l, n_l, m_l) of one image (3, S, S), with open_clip's own blocks."""
    tower, learned = method.clip.model.visual, method.state_dict(keep_vars=True)
    x = tower.conv1(image[None]).flatten(2).transpose(1, 2)[0]
    side = math.isqrt(len(x))
    native, positions = tower.grid_size[0], tower.positional_embedding
    table = positions[1:].T.reshape(1, -1, native, native)
    if side != native:
        table = F.interpolate(table, (side, side), mode="bilinear", align_corners=False)
    first = positions[0]
    pair = torch.stack([learned["anomaly_token"], learned["normal_token"]]) + first
    x = torch.cat([pair, (tower.class_embedding + first)[None], x + table[0].flatten(1).T])
    x = tower.ln_pre(x)[None]
    norm = tower.ln_post
    weight, bias = (learned["ln_post_weight"], learned["ln_post_bias"]) if trained else (norm.weight, norm.bias)
    after = {}
    for number, block in enumerate(tower.transformer.resblocks, start=1):
        x = block(x)
        after[number] = F.layer_norm(x[0], (x.shape[-1],), weight, bias, norm.eps)
    a, n = after[max(after)][:2]
    levels = []
    for layer in layers:
        patches = after[layer][3:]
        own = {k.split(f"layer_{layer}.", 1)[1]: v for k, v in learned.items() if f"layer_{layer}." in k}
        query = F.linear(own["anchor_queries"], own["q_proj.weight"])
        query = F.layer_norm(query, query.shape[-1:], own["q_norm.weight"], own["q_norm.bias"])
        key = F.linear(patches + own["pos_encoding"][0, : len(patches)], own["k_proj.weight"])
        key = F.layer_norm(key, key.shape[-1:], own["k_norm.weight"], own["k_norm.bias"])
        gathered = (query @ key.T / math.sqrt(key.shape[-1])).softmax(-1) @ F.linear(patches, own["v_proj.weight"])
        moved = []
        for token in (a, n):
            gate = torch.sigmoid(own["gate.0.weight"] @ token + own["gate.0.bias"])
            total = sum(g * row for g, row in zip(gate, gathered, strict=True))
            moved.append(token + own["res_scale"] * (own["out_proj.weight"] @ total + own["out_proj.bias"]))
        hidden = F.gelu(F.linear(patches, own["mlp.0.weight"], own["mlp.0.bias"]))
        seen = F.linear(hidden, own["mlp.3.weight"], own["mlp.3.bias"])
        grid = F.cosine_similarity(seen, moved[0][None]) - F.cosine_similarity(seen, moved[1][None])
        size = image.shape[-1]
        map_ = F.interpolate(grid.reshape(1, 1, side, side), (size, size), mode="bilinear", align_corners=False)
        levels.append((*moved, map_[0, 0]))
    return a, n, levels


def top_mean(map_, ratio):
    values = map_.flatten().sort(descending=True).values
    return values[: max(1, math.ceil(ratio * len(values)))].mean()


@pytest.mark.parametrize(
    ("settings", "layers", "size"),
    [
        ({}, [1, 2, 3, 4], 32),
        ({"features_list": [3, 1]}, [3, 1], 32),
        ({"features_list": [2], "num_anchors": 2, "topk_ratio": 0.003}, [2], 45),
        ({"load_ln_post": True}, [1, 2, 3, 4], 32),
    ],
    ids=str,
)
def test_predictions_follow_the_specification(settings, layers, size):
    method, batch = (
        make_method(make_tiny_clip(image_size=size, quick_gelu=True), **settings).eval(),
        make_batch(size=size),
    )
    prediction = method.predict(batch)
    for number, image in enumerate(batch.images):
        _, _, levels = by_specification(method, image, layers, trained=settings.get("load_ln_post", False))
        expected = sum(map_ for _, _, map_ in levels)
        assert_close(prediction.maps[number], expected, atol=2e-5, rtol=1e-4)
        assert_close(
            prediction.scores[number], top_mean(expected, settings.get("topk_ratio", 0.01)), atol=2e-5, rtol=1e-4
        )


def test_losses_follow_the_specification_with_the_trained_ln_post():
    method, batch = make_method(features_list=[4, 2], margin=0.9), make_batch()
    found = [by_specification(method, image, [4, 2], trained=True) for image in batch.images]
    terms = method.loss(method.encode(batch), batch)
    masks = batch.masks.float()
    pixel_focal = dice = 0.0
    for level in range(2):
        p = torch.stack([levels[level][2] for _, _, levels in found]).sigmoid()
        hit = torch.where(batch.masks, p, 1 - p) * (1 - 1e-5) + torch.where(batch.masks, 1 - p, p) * 1e-5 + 1e-5
        pixel_focal = pixel_focal + (-((1 - hit) ** 2) * hit.log()).mean()
        overlap = 2 * (p * masks).sum((1, 2)) + 1
        dice = dice + (1 - overlap / (p.sum((1, 2)) + masks.sum((1, 2)) + 1)).mean()
    scores = torch.stack([top_mean(sum(m for _, _, m in levels), 0.01) for _, _, levels in found])
    alike = torch.stack([F.cosine_similarity(*levels[-1][:2], dim=0) for _, _, levels in found])
    expected = {
        "pixel_focal": pixel_focal,
        "dice_abnormal": dice,
        "image_cross_entropy": F.binary_cross_entropy(scores.sigmoid(), batch.labels.float()),
        "contrastive": (alike + 0.9).clamp(min=0).mean(),
    }
    assert_close(terms, expected, atol=1e-5, rtol=1e-4)
    total, theirs = sum(terms.values()), sum(expected.values())
    named = method.learnable_parameters()
    ours = torch.autograd.grad(total, list(named.values()))
    for name, mine, other in zip(named, ours, torch.autograd.grad(theirs, list(named.values())), strict=True):
        assert mine.abs().max() > 0, name
        assert_close(mine, other, atol=1e-5 * float(mine.abs().max()) + 1e-6, rtol=1e-3, msg=name)


def test_an_images_dropout_is_its_own_in_any_batch():
    method, batch = make_method(dropout=0.3).train(), make_batch(6)

    def terms(part, seeds):
        return method.loss(method.encode(part), replace(part, seeds=seeds))

    whole, single = terms(batch, [*range(6)]), [terms(rows(batch, slice(i, i + 1)), [i]) for i in range(6)]
    for name, value in whole.items():
        assert_close(value, torch.stack([part[name] for part in single]).mean(), atol=1e-5, rtol=1e-5)


def test_dropout_acts_in_training_alone_and_anew_in_each_step():
    method, batch = make_method(dropout=0.5), make_batch(2)
    features = method.encode(batch)
    first, second = (method.train().loss(features, batch)["pixel_focal"] for _ in range(2))
    assert abs(first - second) > 1e-3
    again = [method.eval().loss(features, batch)["pixel_focal"] for _ in range(2)]
    assert_close(*again, rtol=0, atol=0)


def test_dropout_takes_its_share_and_scales_the_rest():
    dropped = ImageDropout(0.25, [1, 2], torch.device("cpu"))(torch.ones(2, 300, 50))
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert not torch.equal(*dropped)


def test_dropout_acts_on_attention_and_outputs_of_each_level():
    method, batch = make_method(features_list=[2], num_anchors=3), make_batch(2)
    seen = []

    def recorder(x):
        seen.append(tuple(x.shape[1:]))
        return x

    method.outputs(method.encode(batch), trained_ln_post=True, dropout=recorder)
    patches = (16, 48)
    assert seen == [(3, 16), (48,), (3, 16), (48,), patches, patches]


def test_pictures_are_resized_before_they_become_rgb():
    assert make_method().transform.rgb == "after"


def test_tokens_learn_faster_and_are_clipped_each_by_itself():
    groups = make_method(rest_lr_factor=0.2, token_grad_clip=3.0).parameter_groups()
    assert [(group.names, group.lr_factor, group.clip_norm) for group in groups[:2]] == [
        (("anomaly_token",), 1.0, 3.0),
        (("normal_token",), 1.0, 3.0),
    ]
    assert (groups[2].lr_factor, groups[2].clip_norm) == (0.2, None)
    assert groups[2].names[:3] == ("ln_post_weight", "ln_post_bias", "layer_transforms.layer_1.mlp.0.weight")


def test_initial_values_are_those_of_the_specification():
    method = build("visualad", make_tiny_clip(), num_anchors=3)
    state = method.learnable_state()
    attention = "cross_attn.layer_attentions.layer_2."
    assert 0 < float(state["anomaly_token"].norm()) < 0.3
    assert torch.equal(state["ln_post_weight"], method.clip.model.visual.ln_post.weight)
    assert state[f"{attention}pos_encoding"].shape == (1, 1536, 48)
    assert float(state[f"{attention}pos_encoding"].std()) == pytest.approx(0.02, rel=0.05)
    assert float(state[f"{attention}res_scale"]) == pytest.approx(0.01)
    assert float(state[f"{attention}v_proj.weight"].abs().max()) <= math.sqrt(6 / 96)
    assert not state["layer_transforms.layer_4.mlp.3.bias"].any()


def test_official_checkpoint_round_trip_whatever_its_number_of_positions(tmp_path):
    source, target = make_method(), build("visualad", make_tiny_clip(), **SMALL | {"pos_encoding_rows": 33})
    source.save_official(tmp_path / "final_model.pth")
    stored = torch.load(tmp_path / "final_model.pth", weights_only=True)
    assert set(stored["layer_transforms"]) == {f"layer_{layer}" for layer in (1, 2, 3, 4)}
    assert set(stored["layer_transforms"]["layer_1"]) == {"mlp.0.weight", "mlp.0.bias", "mlp.3.weight", "mlp.3.bias"}
    assert "layer_attentions.layer_4.gate.0.bias" in stored["cross_attn"]
    assert stored["features_list"] == [1, 2, 3, 4]
    target.load_official(tmp_path / "final_model.pth")
    assert_close(target.learnable_state(), source.learnable_state())
    assert_close(target.eval().predict(make_batch()), source.eval().predict(make_batch()))
    again = build("visualad", make_tiny_clip(), **SMALL | {"pos_encoding_rows": 33})
    again.load_learnable_state(target.learnable_state())
    assert_close(again.learnable_state(), source.learnable_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features_list": [1, 2, 3]}, r"has features_list \[1, 2, 3\], the method \[1, 2, 3, 4\]"),
        ({"image_size": 518}, "has image_size 518, the method 32"),
        ({"normal_token": torch.zeros(3)}, "normal_token"),
        ({"anomaly_token": None}, "no entry 'anomaly_token'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_another_checkpoint_is_refused_whole(tmp_path, change, message):
    make_method().save_official(tmp_path / "a.pth")
    stored = torch.load(tmp_path / "a.pth", weights_only=True) | change
    torch.save({key: value for key, value in stored.items() if value is not None}, tmp_path / "b.pth")
    method = make_method(num_anchors=4)
    before = {key: value.clone() for key, value in method.learnable_state().items()}
    with pytest.raises(UserError, match=message):
        method.load_official(tmp_path / "b.pth")
    assert_close(method.learnable_state(), before)


def test_positions_for_fewer_patches_than_there_are_are_refused():
    state = make_method().learnable_state()
    name = "cross_attn.layer_attentions.layer_1.pos_encoding"
    with pytest.raises(UserError, match="pos_encoding"):
        make_method().load_learnable_state(state | {name: state[name][:, :15]})


def test_a_block_that_is_not_there_is_named():
    with pytest.raises(UserError, match="features_list names block 5, outside 1 to 4"):
        make_method(features_list=[1, 5])


def test_class_names_do_not_matter():
    method, batch = make_method().eval(), make_batch()
    other = replace(batch, class_names=["x"] * len(batch))
    assert torch.equal(method.predict(batch).maps, method.predict(other).maps)


def test_a_set_has_the_rows_alone_that_it_has_in_a_benchmark(tmp_path, monkeypatch):
    found = rows_of_a_set_alone("visualad", tmp_path, monkeypatch, "checkpoint=untrained")
    assert not any("together" in row["notes"] for row in found)
