"""PromptAD as a method: scores, their parts, channel order, settings, selection."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from adbench.errors import UserError
from adbench.methods import method_class
from adbench.metrics import ImageMetrics, PixelMetrics
from fitted_promptad import fitted, make_method, support
from tiny import make_batch, make_tiny_clip, rows

SETTINGS = [
    {},
    {"task": "cls"},
    {"task": "seg"},
    {"variant": "paper"},
    {"n_pro": 2, "n_ctx": 3, "n_ctx_ab": 2, "memory_blocks": [0, 1, 2]},
    {"map_blur_sigma": 0.0, "vv_last_blocks": 2, "select": "best_on_test"},
]


# Scores


def test_an_image_of_the_memory_is_nearest_to_itself():
    method = make_method(test_channel_order="rgb")
    images = support()
    method.adapt("carpet", images)
    prediction = method.predict(replace(images, class_names=["carpet"] * 2))
    assert prediction.maps.abs().max() < 1e-6
    assert prediction.scores.abs().max() < 1e-6


def test_fusion_by_hand():
    method = make_method(map_blur_sigma=0.0, resolution=4)
    method.adapt("carpet", support())
    batch = replace(make_batch(), class_names=["carpet"] * 4)
    features = method.encode(batch)
    memory_bank = method.memory_bank["carpet"]
    visual = torch.zeros(4, 4, 4)
    for layer, gallery in enumerate(memory_bank.galleries, start=1):
        for image in range(4):
            for patch, vector in enumerate(features[f"memory{layer}"][image]):
                nearest = min(float(1 - vector @ normal) for normal in gallery)
                visual[image, patch // 4, patch % 4] += nearest / 4
    scale = float(method.clip.model.logit_scale)

    def abnormal(vectors, task):
        return (scale * vectors @ memory_bank.prompts[task].prototypes.T).softmax(dim=-1)[..., 1]

    text = abnormal(features["local"], "seg").reshape(4, 4, 4)
    prediction = method.score(features, batch)
    assert_close(prediction.maps, 1 / (1 / text + 1 / visual))
    image = 1 / (1 / visual.flatten(1).amax(1) + 1 / abnormal(features["global"], "cls"))
    assert_close(prediction.scores, image)


def test_only_test_images_have_red_and_blue_exchanged():
    clip = make_tiny_clip()
    bgr, rgb = make_method(clip), make_method(clip, test_channel_order="rgb")
    batch, mean, std = make_batch(), torch.tensor(clip.mean), torch.tensor(clip.std)
    colours = batch.images * std.view(3, 1, 1) + mean.view(3, 1, 1)
    swapped = replace(batch, images=(colours.flip(1) - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    assert_close(bgr.encode(batch)["local"], rgb.encode(swapped)["local"], atol=1e-5, rtol=1e-5)
    for method in (bgr, rgb):
        method.adapt("carpet", support(), method.encode_support(support()))
    assert_close(bgr.memory_bank["carpet"].galleries[0], rgb.memory_bank["carpet"].galleries[0])


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_support_is_encoded_once(order, monkeypatch):
    """What the engine has encoded is what the method remembers."""
    method, encoded = make_method(test_channel_order=order, epochs=0), []
    whole = method.vv_clip.raw
    monkeypatch.setattr(method.vv_clip, "raw", lambda images: encoded.append(len(images)) or whole(images))
    features = method.encode_support(support())
    method.adapt("carpet", support(), features)
    assert encoded == [2]
    assert_close(method.memory_bank["carpet"].galleries[0], features["memory1"].flatten(0, 1))


def test_class_that_was_not_fitted():
    method = fitted()
    batch = replace(make_batch(), class_names=["wood"] * 4)
    with pytest.raises(UserError, match=r"no normal images of class 'wood'.*carpet, metal_nut, pipe-fryum"):
        method.predict(batch)


@pytest.mark.parametrize("guidance", ["prompt", "vision"])
def test_one_part_alone(guidance):
    """Whatever the other part says does not show."""
    method = make_method(guidance=guidance, map_blur_sigma=0.0, resolution=4)
    method.adapt("carpet", support())
    batch = replace(make_batch(), class_names=["carpet"] * 4)
    features = method.encode(batch)
    visual, text = method.visual_grid(features, "carpet"), method.text_grid(features, "carpet")
    prediction = method.score(features, batch)
    assert_close(prediction.maps, (text if guidance == "prompt" else visual)[:, 0])
    largest = visual.flatten(1).amax(1)
    assert_close(prediction.scores, method.text_score(features, "carpet") if guidance == "prompt" else largest)


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "map"}, "unknown value 'map'"),
        ({"pairing": "all"}, "unknown value 'all'"),
        ({"variant": None}, "unknown value 'None'"),
        ({"n_ctx": 0}, "method.n_ctx is 0. give a number of at least 1"),
        ({"epochs": -1}, "epochs is -1"),
        ({"memory_blocks": [2, 7]}, r"memory_blocks is \[2, 7\] for 4 blocks"),
        ({"img_resize": 16, "img_cropsize": 32}, "larger than the image"),
        ({"n_prompts": 3}, "did you mean 'method.n_pro'"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(UserError, match=f"(?i){message}"):
        make_method(**settings)


def test_paper_variant_sets_its_switches_unless_they_are_given():
    paper = make_method(variant="paper", pairing="modulo")
    assert paper.settings.lap_position == paper.settings.manual_form == "after_noun"
    assert (paper.settings.pairing, paper.settings.margin_axis, paper.settings.test_channel_order) == (
        "modulo",
        "channels",
        "rgb",
    )
    assert paper.scale == pytest.approx(float(paper.clip.model.logit_scale.exp()))
    assert make_method().scale == pytest.approx(float(paper.clip.model.logit_scale))
    assert paper.vv_clip.blocks == [1, 3]


def test_memory_lies_as_deep_in_a_smaller_tower():
    assert make_method().vv_clip.blocks == [2, 4]  # of the wrapper, counted from 1: attention of 1 and 3 from 0


def test_hyperparameters_are_recorded_as_given():
    method = make_method()
    defaults = method_class("promptad").hyperparameter_defaults()
    assert list(method.hyperparameters) == list(defaults)
    assert method.hyperparameters == defaults | {
        "epochs": 3,
        "resolution": 24,
        "lr": 0.05,
    }


# Selection on test


def test_best_epoch_is_that_of_the_highest_auroc_the_first_on_ties():
    method = make_method(epochs=6, select="best_on_test", map_blur_sigma=0.0)
    method.adapt("carpet", support())
    batch = make_batch(8, size=24)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = replace(batch, images=images, class_names=["carpet"] * 8)
    features, memory_bank = method.encode(batch), method.memory_bank["carpet"]
    found = {"cls": [], "seg": []}
    for epoch in range(6):
        for task, fitted_prompts in list(memory_bank.prompts.items()):
            memory_bank.prompts[task] = replace(fitted_prompts, prototypes=fitted_prompts.per_epoch[epoch])
        prediction = method.score(features, batch)
        image = ImageMetrics().update(prediction.scores.numpy(), batch.labels.numpy()).compute()
        pixel = PixelMetrics().update(prediction.maps.numpy(), batch.masks.numpy()).compute()
        found["cls"].append(image["image_auroc"])
        found["seg"].append(pixel["pixel_auroc"])
    assert method.selects_on_test
    halves = [rows(batch, slice(0, 3)), rows(batch, slice(3, 8))]
    method.select_on_test("carpet", [(method.encode(half), half) for half in halves])
    for task, aurocs in found.items():
        chosen = memory_bank.prompts[task]
        assert torch.equal(chosen.prototypes, chosen.per_epoch[aurocs.index(max(aurocs))])
