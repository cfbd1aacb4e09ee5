"""VL4AD: what its decoder starts from, learns, and says of images of any size."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from adbench.data.sample import Batch
from adbench.errors import UserError
from adbench.methods.vl4ad.mask2former import targets
from tiny import make_tiny_clip, make_tiny_convnext
from tiny_vl4ad import make_scenes, make_vl4ad


@pytest.fixture(scope="module")
def convnext():
    return make_tiny_convnext()


@pytest.fixture(scope="module")
def method(convnext):
    return make_vl4ad(convnext).eval()


def predict(method, batch: Batch) -> list[torch.Tensor]:
    prediction = method.predict(batch)
    assert prediction.scores is None
    return list(prediction.maps)


# Initialisation: the library leaves some of Mask2Former's to whoever builds it


def test_deformable_attention_starts_in_unit_directions(method):
    for layer in method.decoder.pixel_decoder.encoder.layers:
        bias = layer.self_attn.sampling_offsets.bias.reshape(4, 3, 4, 2)  # heads, levels, points, (x, y)
        assert_close(bias[0, 0].flatten(), torch.tensor([1.0, 0, 2, 0, 3, 0, 4, 0]))
        assert_close(bias[1, 2], torch.tensor([[0.0, k] for k in (1, 2, 3, 4)]), atol=1e-6, rtol=0)
        assert not layer.self_attn.sampling_offsets.weight.any()
        assert not layer.self_attn.attention_weights.weight.any()
        assert is_xavier(layer.self_attn.value_proj.weight)
        assert is_xavier(layer.self_attn.output_proj.weight)


def is_xavier(weight: torch.Tensor) -> bool:
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(weight)
    bound = math.sqrt(6 / (fan_in + fan_out))
    return 0.8 * bound < float(weight.detach().abs().max()) <= bound


def test_convolutions_and_feed_forward_layers_of_the_pixel_decoder_start_as_xavier(method):
    decoder = method.decoder.pixel_decoder
    first = [projection[0] for projection in decoder.input_projections]
    fed = [part for layer in decoder.encoder.layers for part in (layer.fc1, layer.fc2)]
    for module in (*first, decoder.mask_projection, decoder.adapter_1[0], decoder.layer_1[0], *fed):
        assert is_xavier(module.weight)
        assert module.bias is None or not module.bias.any()


def test_queries_and_levels_start_from_the_normal_distribution():
    method = make_vl4ad(make_tiny_convnext(), num_queries=64)
    transformer = method.decoder.transformer
    for table in (transformer.queries_features.weight, transformer.queries_embedder.weight):
        assert abs(float(table.detach().std()) - 1) < 0.1
    assert 0.6 < float(method.decoder.pixel_decoder.level_embed.detach().std()) < 1.4
    assert float(method.head.logit_scale.detach().exp()) == pytest.approx(1 / 0.07, rel=1e-5)


def test_the_same_seed_gives_the_same_weights(convnext):
    states = [make_vl4ad(convnext, seed=4).learnable_state() for _ in range(2)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


# Training


def test_training_lowers_the_loss(convnext):
    method, batch = make_vl4ad(convnext).train(), make_scenes()
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    features = method.encode(batch)
    history = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(30):
            loss = torch.stack(list(method.loss(features, batch).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(float(loss.detach()))
    assert history[-1] < 0.75 * history[0]


def test_every_stage_has_three_terms(method):
    batch = make_scenes()
    terms = method.stage_losses(method.encode(batch), batch)
    kinds = ("loss_cross_entropy", "loss_mask", "loss_dice")
    assert set(terms) == {f"{kind}{suffix}" for kind in kinds for suffix in ("", "_0", "_1")}


def test_a_batch_without_any_label_has_finite_losses(method):
    batch = make_scenes()
    batch = replace(batch, targets=torch.full_like(batch.targets, 255))
    losses = method.loss(method.encode(batch), batch)
    assert float(losses["mask"].detach()) == float(losses["dice"].detach()) == 0
    assert math.isfinite(float(losses["class"].detach()))


def test_targets_are_one_mask_per_class_in_ascending_order():
    labels = torch.tensor([[[3, 3, 255], [0, 1, 255]], [[255, 255, 255], [255, 255, 255]]])
    masks, classes = targets(labels, 4)
    assert classes[0].tolist() == [0, 1, 3]
    assert masks[0].dtype == torch.float32
    assert masks[0][2].tolist() == [[1, 1, 0], [0, 0, 0]]
    assert len(masks[1]) == len(classes[1]) == 0


def test_a_class_that_the_words_do_not_have_is_named(method):
    batch = make_scenes()
    batch = replace(batch, targets=batch.targets.clone().fill_(7))
    with pytest.raises(UserError, match=r"holds class 7, the vocabulary has 4 classes \(made\).*method\.vocabulary"):
        method.loss(method.encode(batch), batch)


def test_data_without_label_maps_are_refused(method):
    batch = replace(make_scenes(), targets=None)
    with pytest.raises(UserError, match="learns from label maps, and these data have none"):
        method.loss(method.encode(batch), batch)


def test_norms_and_tables_get_no_weight_decay(method):
    decayed, undecayed = method.parameter_groups()
    assert (decayed.weight_decay, undecayed.weight_decay) == (None, 0.0)
    spared = set(undecayed.names)
    assert len(decayed.names) + len(spared) == len(method.learnable_parameters())
    named = set(method.learnable_parameters())
    assert spared < named
    assert "head.void_embedding.weight" in spared
    assert "decoder.transformer.level_embed.weight" in spared
    assert {"decoder.pixel_decoder.level_embed", "head.logit_scale"} <= named - spared
    assert all("norm" in name or "embed" in name or "quer" in name or ".1." in name or ".0." in name for name in spared)
    for name in named - spared:
        assert "norm" not in name
    assert "decoder.pixel_decoder.adapter_1.1.weight" in spared  # its GroupNorm


def test_embeddings_of_queries_and_levels_are_drawn_whatever_the_library_does(method, monkeypatch):
    def blank(_self, module):
        for values in module.parameters(recurse=False):
            torch.nn.init.zeros_(values)

    monkeypatch.setattr("transformers.Mask2FormerPreTrainedModel._init_weights", blank)
    decoder = make_vl4ad(method.clip, num_queries=64).decoder
    embeddings = [module.weight for module in decoder.transformer.modules() if isinstance(module, torch.nn.Embedding)]
    assert len(embeddings) >= 3
    for values in (decoder.pixel_decoder.level_embed, *embeddings):
        assert 0.8 < float(values.detach().std()) < 1.2


# Testing


def test_maps_have_the_size_of_each_stored_image(method):
    maps = predict(method, make_scenes(2, sizes=[(40, 60), (40, 60)]))
    assert [tuple(one.shape) for one in maps] == [(40, 60), (40, 60)]
    assert maps[0].dtype == torch.float32


def test_padding_is_cut_off_before_maps_are_resized(convnext):
    method = make_vl4ad(convnext, short_side=60).eval()  # content 60 x 90 in a tensor of 64 x 96
    batch = make_scenes(1, sizes=[(30, 45)])
    features = method.encode(batch)
    masks, probability = method.queries(features, 0, "test")
    whole = nn.functional.interpolate(masks, size=(64, 96), mode="bilinear", align_corners=False)[..., :60, :90]
    small = nn.functional.interpolate(whole, size=(30, 45), mode="bilinear", align_corners=False)
    expected = -torch.einsum("nk,nhw->khw", probability[0], small[0].sigmoid()).amax(dim=0)
    assert_close(predict(method, batch)[0], expected, atol=1e-5, rtol=1e-5)


def test_images_of_other_sides_are_padded(method):
    batch = make_scenes(1, (64, 96))
    cropped = replace(batch, images=batch.images[..., :50, :70], targets=batch.targets[..., :50, :70])
    assert predict(method, cropped)[0].shape == (50, 70)
    assert method.loss(method.encode(cropped), cropped)["mask"] > 0


@pytest.mark.parametrize("make", [make_tiny_convnext, make_tiny_clip])
def test_the_mean_over_mirror_images_is_symmetric(make):
    method = make_vl4ad(make(), tta_flip=True).eval()
    batch = make_scenes(1, sizes=[(48, 72)])
    mirrored = replace(batch, images=batch.images.flip(-1))
    (first,), (second,) = predict(method, batch), predict(method, mirrored)
    assert_close(first, second.flip(-1), atol=2e-5, rtol=1e-4)
    method.settings = replace(method.settings, tta_flip=False)
    assert not torch.allclose(predict(method, batch)[0], first, atol=1e-4)


def test_windows_average_class_sums_where_they_overlap():
    clip = make_tiny_clip()
    method = make_vl4ad(clip, window=64, window_stride=32).eval()
    batch = make_scenes(1, (64, 96))
    sums = method.class_maps(method.encode(batch), batch)[0]
    parts = []
    for left in (0, 32):
        whole = make_vl4ad(clip, window=0).eval()
        window = replace(batch, images=batch.images[..., left : left + 64], targets=None)
        parts.append(whole.class_maps(whole.encode(window), window)[0])
    assert_close(sums[..., :32], parts[0][..., :32], atol=1e-5, rtol=1e-4)
    assert_close(sums[..., 64:], parts[1][..., 32:], atol=1e-5, rtol=1e-4)
    assert_close(sums[..., 32:64], (parts[0][..., 32:] + parts[1][..., :32]) / 2, atol=1e-5, rtol=1e-4)
    assert_close(predict(method, batch)[0], -sums.amax(dim=0), atol=1e-5, rtol=1e-4)


def test_the_segmentation_ignores_merging_and_ood_prompts(convnext):
    plain, merged = (make_vl4ad(convnext, **changes).eval() for changes in ({}, {"merge": "kinds", "ood": "near"}))
    batch = make_scenes(1)
    (classes,) = plain.segment(batch)
    assert classes.shape == (64, 96)
    assert torch.equal(classes, merged.segment(batch)[0])
    assert int(classes.max()) < 4
    assert len(merged.class_maps(merged.encode(batch), batch)[0]) == 2  # superclasses, OOD columns dropped


@pytest.mark.parametrize(
    "change",
    [
        *({"merge": "kinds"}, {"ood": "near"}, {"use_void": False}, {"concepts": "names"}, {"pixel_score": "rba"}),
        *({"out_vocab": True}, {"out_vocab": True, "alpha": 0.1}, {"out_vocab": True, "use_void": False}),
    ],
)
def test_every_switch_changes_the_map(convnext, method, change):
    batch = make_scenes(1)
    found = predict(make_vl4ad(convnext, **change).eval(), batch)[0]
    assert torch.isfinite(found).all()
    assert not torch.allclose(found, predict(method, batch)[0], atol=1e-6)


def test_one_minus_max_ranks_as_max_does(convnext, method):
    batch = make_scenes(1)
    other = predict(make_vl4ad(convnext, pixel_score="one_minus_max").eval(), batch)[0]
    assert_close(other, 1 + predict(method, batch)[0])


def test_scores_are_never_clipped(method):
    method = make_vl4ad(method.clip, num_queries=64).eval()
    method.head.void_embedding.weight.data.mul_(0)
    assert float(predict(method, make_scenes(1))[0].min()) < -1  # the sums of overlapping masks exceed 1


def test_maps_keep_full_precision_under_autocast(method):
    batch = make_scenes(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = predict(method, batch)[0]
    assert halved.dtype == torch.float32
    assert halved.unique().numel() > 1000  # not the few steps of bfloat16
    assert_close(halved, predict(method, batch)[0], atol=0.1, rtol=0)


def test_results_name_the_ood_list(convnext):
    assert make_vl4ad(convnext, ood="near").remarks == ("OOD prompts: near",)
    assert make_vl4ad(convnext).remarks == ()


# Settings


def test_unknown_names_are_answered_with_the_nearest(convnext):
    for change, message in (
        ({"vocabulary": "cityscape"}, r"(?i)did you mean 'cityscapes'"),
        ({"concepts": "manny"}, r"unknown concept list 'manny'.*Did you mean 'many'"),
        ({"merge": "kind"}, r"(?i)did you mean 'kinds'"),
        ({"ood": "far"}, r"unknown list of OOD prompts 'far'"),
        ({"pixel_score": "maximum"}, "unknown value 'maximum'"),
        ({"window": 50}, r"no multiples of 32"),
        ({"crop": [64]}, r"crop is \[64\]"),
        ({"hidden_dim": 40}, r"hidden_dim is 40"),
    ):
        with pytest.raises(UserError, match=message):
            make_vl4ad(convnext, **change)


def test_sizes_that_suit_the_tower():
    of_convnext = make_vl4ad(make_tiny_convnext(), short_side=None, crop=None, window=None)
    transform, plan = of_convnext.transform, of_convnext.transform.augmentation
    assert (transform.short_side, transform.long_side, of_convnext.settings.window) == (1024, 2560, 0)
    assert plan.short_sides == tuple(int(102.4 * x) for x in range(5, 21))
    assert (plan.long_side, plan.crop) == (4096, (512, 1024))
    of_vit = make_vl4ad(make_tiny_clip(), short_side=None, crop=None, window=None)
    assert (of_vit.transform.short_side, of_vit.settings.window, of_vit.settings.window_stride) == (512, 512, 352)
    assert of_vit.transform.augmentation.crop == (512, 512)


# transformers is an optional dependency


def test_without_transformers_other_methods_work_and_this_one_says_what_to_install():
    code = """
import sys
sys.path.insert(0, "tests")
from adbench.errors import UserError
from adbench.methods import build, names
assert "vl4ad" in names()
assert "transformers" not in sys.modules
sys.modules["transformers"] = None  # as if it were not installed
from tiny import make_tiny_clip
build("winclip", make_tiny_clip())
try:
    build("vl4ad", make_tiny_clip())
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs transformers >= 5, < 6, which is not installed" in done.stdout
    assert "adbench-clip[vl4ad]" in done.stdout


def test_another_major_version_is_refused(monkeypatch):
    import transformers

    from adbench.methods.vl4ad.mask2former import load_library

    monkeypatch.setattr(transformers, "__version__", "6.0.1")
    load_library.cache_clear()
    with pytest.raises(UserError, match=r"needs transformers >= 5, < 6, and 6\.0\.1 is installed"):
        load_library()
    load_library.cache_clear()
