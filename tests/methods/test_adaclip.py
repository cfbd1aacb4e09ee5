"""AdaCLIP as a method: batches, gradients, weights, settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch.testing import assert_close

from adbench.errors import UserError
from adbench.methods import build
from adbench.methods.adaclip.clusters import ITERATIONS, batched_members
from adbench.methods.adaclip.fusion import fuse, stream_of
from adbench.methods.adaclip.prompting import by_length
from tiny import make_batch, make_tiny_clip, rows


def make_method(clip=None, **settings):
    torch.manual_seed(0)
    settings = {"prompting_depth": 3, "prompting_length": 3, "k_clusters": 2} | settings
    return build("adaclip", clip or make_tiny_clip(), **settings)


SETTINGS = [
    {},
    {"use_hsf": False},
    {"hsf_variant": "paper"},
    {"prompting_type": "S"},
    {"prompting_type": "D"},
    {"prompting_type": "D", "prompting_branch": "L"},
    {"prompting_branch": "V"},
    {"prompting_branch": "L"},
    {"prompting_branch": ""},
    {"prompting_type": ""},
    {"dice_mode": "image", "prompt_fp16_rounding": True},
    {"prompting_depth": 1},
    {"prompting_depth": 4, "prompting_length": 12},
]


def test_features_are_a_function_of_the_images_without_gradient():
    method, batch = make_method(), make_batch()
    first, second = method.encode(batch), method.encode(batch)
    assert first.keys() == {"pooled"}
    assert not first["pooled"].requires_grad
    assert_close(first["pooled"], second["pooled"])


def test_learnables_are_those_of_the_authors_checkpoint():
    method = make_method(prompting_length=2)
    shapes = {key: tuple(value.shape) for key, value in method.learnable_state().items()}
    assert list(shapes) == list(method.learnable_parameters())
    assert shapes["clip_model.text_prompter.static_prompts.2"] == (2, 32)
    assert shapes["clip_model.visual_prompter.static_prompts.0"] == (2, 48)
    assert shapes["clip_model.patch_token_layer.head.3.weight"] == (32, 48)
    assert shapes["clip_model.dynamic_visual_prompt_generator.head.1.weight"] == (48, 32)
    assert len(shapes) == 6 + 8 + 2 + 4 + 4


def test_paper_size_has_the_paper_count_of_weights():
    clip = make_tiny_clip()
    clip.embed_dim = clip.text_width = 768
    clip.vision_width = 1024
    method = build("adaclip", clip, prompting_depth=3, k_clusters=2)
    per_depth = 5 * 768 + 5 * 1024
    assert sum(p.numel() for p in method.parameters()) == 10_665_472 - per_depth


def test_official_checkpoint_round_trip(tmp_path):
    source, target = make_method(), make_method()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.1)
    file = tmp_path / "pretrained.pth"
    source.save_official(file)
    stored = torch.load(file, weights_only=True)
    assert all(key.startswith("clip_model.") for key in stored)
    target.load_official(file)
    for key, value in target.learnable_state().items():
        assert_close(value, source.learnable_state()[key])


def test_checkpoint_of_other_settings_is_refused_whole(tmp_path):
    file = tmp_path / "other.pth"
    make_method(prompting_depth=2).save_official(file)
    method = make_method()
    before = {key: value.clone() for key, value in method.learnable_state().items()}
    with pytest.raises(UserError, match=r"missing clip_model\.text_prompter\.static_prompts\.2.*other\.pth"):
        method.load_official(file)
    assert all(torch.equal(before[key], value) for key, value in method.learnable_state().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompting_type": "X"}, "unknown value 'X'"),
        ({"k_clusters": 17}, "k_clusters is 17, outside 1 to 16"),
        ({"prompting_depth": 5}, "prompting_depth is 5, outside 1 to 4"),
        ({"output_layers": [5]}, "output_layers is 5"),
        ({"promting_type": "S"}, "did you mean 'method.prompting_type'"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(UserError, match=f"(?i){message}"):
        make_method(**settings)


def test_paper_variant_sets_the_fusion():
    method = make_method(variant="paper")
    assert (method.settings.hsf_variant, method.settings.hsf_alpha) == ("paper", 1.0)
    assert (make_method().settings.hsf_variant, make_method().settings.hsf_alpha) == ("official", 0.2)


def test_paper_fusion_is_the_most_abnormal_cluster():
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(3, 8, generator=generator), dim=-1)
    member = torch.arange(12) % 3
    tokens = (centres[member] + 0.01 * torch.randn(12, 8, generator=generator)).expand(1, 2, 12, 8)
    selection = torch.tensor([0.1, 0.9, 0.2])[member].unsqueeze(0)
    fused = fuse(tokens, selection, 3, "paper", [np.random.RandomState(0)])
    expected = torch.nn.functional.normalize(tokens[0].mean(0)[member == 1].mean(0), dim=0)
    assert_close(fused[0], expected)


def test_official_fusion_balances_clusters_of_the_most_abnormal_patches():
    tokens = torch.zeros(1, 1, 12, 2)
    tokens[0, 0, :, 0] = 1.0
    tokens[0, 0, 9, :] = torch.tensor([0.0, 1.0])
    selection = torch.arange(12.0)[None] / 12
    fused = fuse(tokens, selection, 2, "official", [np.random.RandomState(0)])
    # 10 of 12 patches are taken; one of them makes a cluster of its own and weighs as much as the other nine.
    assert_close(fused[0], torch.full((2,), 0.5**0.5))


def test_fewer_distinct_points_than_clusters_give_no_nan():
    tokens = torch.ones(1, 1, 12, 2) / 2**0.5
    with pytest.warns(match="distinct clusters"):
        fused = fuse(tokens, torch.rand(1, 12), 2, "official", [np.random.RandomState(0)])
    assert fused.isfinite().all()


def test_a_picture_has_one_score_whatever_is_scored_before_or_beside_it():
    method, batch = make_method(k_clusters=3), make_batch()
    first = method.predict(batch).scores
    np.random.seed(99)
    assert torch.equal(method.predict(batch).scores, first)
    assert torch.equal(make_method(k_clusters=3).predict(batch).scores, first)
    backwards = replace(rows(batch, slice(None)), images=batch.images.flip(0), class_names=batch.class_names[::-1])
    assert_close(method.predict(backwards).scores.flip(0), first, atol=1e-5, rtol=0)
    alone = replace(rows(batch, slice(2, 3)), paths=["another name.png"])
    assert_close(method.predict(alone).scores, first[2:3], atol=1e-5, rtol=0)


def test_streams_differ_by_picture_and_seed():
    images = make_batch().images
    draws = {stream_of(image, seed).randint(1 << 30) for image in images for seed in (1, 2)}
    assert len(draws) == 8
    assert stream_of(images[0], 1).randint(1 << 30) == stream_of(images[0].clone(), 1).randint(1 << 30)


def test_the_running_stream_goes_on_from_call_to_call_and_says_so():
    method, batch = make_method(kmeans_stream="running", kmeans_seed=3, k_clusters=3), make_batch()
    first = method.predict(batch).scores
    assert not torch.equal(method.predict(batch).scores, first)
    method.random_state.seed(3)
    assert torch.equal(method.predict(batch).scores, first)
    assert method.remarks == ("k-means draws from one running stream: scores depend on the order of the images",)
    assert make_method().remarks == ()


@pytest.mark.parametrize(("n_clusters", "n_chosen"), [(20, 100), (2, 10), (300, 1369)])
def test_official_fusion_takes_the_five_k_most_abnormal_of_1369_patches(monkeypatch, n_clusters, n_chosen):
    seen = []

    def fit_predict(self, points):
        seen.append(points)
        return np.arange(len(points)) % self.n_clusters

    monkeypatch.setattr("sklearn.cluster.KMeans.fit_predict", fit_predict)
    generator = torch.Generator().manual_seed(1)
    tokens, selection = torch.randn(1, 2, 1369, 4, generator=generator), torch.rand(1, 1369, generator=generator)
    fused = fuse(tokens, selection, n_clusters, "official", [np.random.RandomState(0)])
    order = selection[0].argsort(descending=True)[:n_chosen]
    (points,) = seen
    assert_close(torch.from_numpy(points), torch.cat([tokens[0, 0, order], tokens[0, 1, order]], dim=1))
    member = torch.arange(n_chosen) % n_clusters
    means = torch.stack([tokens[0][:, order[member == number]].mean(dim=(0, 1)) for number in range(n_clusters)])
    assert_close(fused[0], torch.nn.functional.normalize(means.mean(dim=0), dim=0), atol=1e-5, rtol=1e-4)


def test_batched_clusters_are_those_of_lloyds_algorithm_from_the_same_start():
    points = torch.randn(3, 60, 5, generator=torch.Generator().manual_seed(2))
    for of_image, members in zip(points, batched_members(points, 7), strict=True):
        start = [0]
        for _ in range(6):
            start.append(int(torch.cdist(of_image, of_image[start]).amin(dim=1).argmax()))
        kmeans = KMeans(7, init=of_image[start].numpy(), n_init=1, max_iter=ITERATIONS, tol=0).fit(of_image.numpy())
        assert members.argmax(dim=0).tolist() == kmeans.labels_.tolist()
        assert members.sum(dim=0).eq(1).all()


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_batched_fusion_is_that_of_each_image_and_needs_no_numbers_on_the_host(variant):
    generator = torch.Generator().manual_seed(1)
    tokens, selection = torch.randn(3, 2, 40, 4, generator=generator), torch.rand(3, 40, generator=generator)
    tokens[1, :, 1:] = tokens[1, :, :1]  # one point: all clusters but one are empty
    together = fuse(tokens, selection, 4, variant, None)
    for number in range(3):
        part = slice(number, number + 1)
        assert_close(fuse(tokens[part], selection[part], 4, variant, None)[0], together[number])
    assert_close(together.norm(dim=-1), torch.ones(3))
    assert fuse(tokens.to("meta"), selection.to("meta"), 4, variant, None).shape == (3, 4)  # meta has no values to read


def test_batched_clusters_are_a_choice_that_rows_tell():
    batch = make_batch()
    plain, batched = make_method(k_clusters=3), make_method(k_clusters=3, kmeans="batched")
    assert (plain.remarks, len(batched.remarks)) == ((), 1)
    assert torch.equal(plain.predict(batch).maps, batched.predict(batch).maps)
    assert not torch.equal(plain.predict(batch).scores, batched.predict(batch).scores)
    with pytest.raises(UserError, match="leave out kmeans_stream=running"):
        make_method(kmeans="batched", kmeans_stream="running")


def test_training_lowers_the_loss():
    method, batch = make_method(), make_batch()
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.01, betas=(0.5, 0.999))
    totals = []
    for _ in range(8):
        total = sum(method.loss(method.encode(batch), batch).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.9 * totals[0]


@pytest.mark.parametrize("ends", [[3], [5, 5, 5], [8, 3, 9, 3, 4], list(range(48))])
def test_sentences_are_split_by_length_where_that_saves_tokens(ends):
    ends = torch.tensor(ends)
    groups = by_length(ends)
    assert torch.cat(groups).sort().values.tolist() == list(range(len(ends)))
    cost = sum(len(group) * (int(ends[group].max()) + 1) for group in groups)
    cuts = (ends.sort().values + 1) * torch.arange(1, len(ends) + 1)
    long = (int(ends.max()) + 1) * torch.arange(len(ends) - 1, -1, -1)
    assert cost == int((cuts + long).min())
