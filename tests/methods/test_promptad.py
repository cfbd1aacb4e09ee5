"""PromptAD as a method: prompts, losses, fitting, memory, channel order, checkpoints, settings."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from adbench.errors import UserError
from adbench.methods import method_class
from adbench.methods.promptad.fitting import FitSettings, Job, fit, learning_rate, losses
from adbench.methods.promptad.prompts import Contexts, TextFeatures, encode_prompts
from adbench.methods.promptad.states import GENERIC, after_noun, noun, suffixes
from adbench.metrics import ImageMetrics, PixelMetrics
from fitted_promptad import CLASSES, fitted, make_method, support
from tiny import make_batch, make_tiny_clip, rows

SETTINGS = [
    {},
    {"task": "cls"},
    {"task": "seg"},
    {"variant": "paper"},
    {"n_pro": 2, "n_ctx": 3, "n_ctx_ab": 2, "memory_blocks": [0, 1, 2]},
    {"map_blur_sigma": 0.0, "vv_last_blocks": 2, "select": "best_on_test"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_batch_equals_images_one_by_one(settings):
    method, batch = fitted(**settings), make_batch()
    whole = method.predict(batch)
    single = [method.predict(rows(batch, slice(i, i + 1))) for i in range(len(batch))]
    for kind in ("scores", "maps"):
        if getattr(whole, kind) is None:
            assert method.hyperparameters["task"] == {"scores": "seg", "maps": "cls"}[kind]
        else:
            assert_close(getattr(whole, kind), torch.cat([getattr(p, kind) for p in single]), atol=1e-5, rtol=0)


# Prompts


def test_prompts_are_the_sentences_of_the_specification():
    clip = make_tiny_clip()
    before = make_method(clip).job("metal_nut", "mvtec", "seg", {"local": torch.zeros(1, 1, 32)}).prompts
    after = make_method(clip, lap_position="after_noun", manual_form="after_noun")
    after = after.job("metal_nut", "mvtec", "seg", {"local": torch.zeros(1, 1, 32)}).prompts
    manual = [f"N N N N {state} metal nut." for state in ("damaged", "flawed", "abnormal", "imperfect", "blemished")]
    manual += [f"N N N N metal nut with {words}." for words in ("flaw", "defect", "damage")]
    own = ("a bent shape", "color stain", "a flipped orientation", "scratch")
    manual += [f"N N N N metal nut with {words}." for words in own]
    learned = ["N N N N A metal nut."] * 4
    assert torch.equal(before.ids, clip.tokenize(["N N N N metal nut.", *manual, *learned]))
    assert torch.equal(after.ids[1], clip.tokenize(["N N N N metal nut damaged."])[0])
    assert torch.equal(after.ids[-1], clip.tokenize(["N N N N metal nut A."])[0])
    assert before.abnormal_start.tolist() == [5] * 4
    assert after.abnormal_start.tolist() == [7] * 4


def test_bottles_learned_prompt_has_the_known_tokens():
    prompts = make_method().job("bottle", "mvtec", "cls", {"global": torch.zeros(1, 32)}).prompts
    assert prompts.ids[-1, :9].tolist() == [49406, 333, 333, 333, 333, 320, 5392, 269, 49407]
    assert prompts.counts == (3, 3 * 11, 12)


@pytest.mark.parametrize(("pairing", "pairs"), [("modulo", 4), ("product", 8)])
def test_pairing_of_two_with_four_contexts(pairing, pairs):
    prompts = make_method(n_pro=2, pairing=pairing).job("x", "d", "cls", {"global": torch.zeros(1, 32)}).prompts
    assert len(set(zip(prompts.normal[-8:].tolist(), prompts.abnormal.tolist(), strict=True))) == pairs
    assert prompts.normal[:6].tolist() == [0, 1] * 3


def test_suffixes_belong_to_the_classes_of_their_data_set():
    assert suffixes("screw", "visa") == list(GENERIC)
    assert suffixes("screw", "other", "own")[8:] == [
        "{} with manipulated front",
        "{} with scratch neck",
        "{} with scratch head",
    ]
    assert suffixes("screw", "mvtec", "generic") == list(GENERIC)
    assert suffixes("capsule", "mvtec")[-1] == "{} squeezed with compression"
    assert suffixes("fryum", "visa").count("{} with colour spot") == 2
    counts = [len(suffixes(name, "", "own")) for name in ("toothbrush", "candle", "pcb4", "grid", "transistor")]
    assert counts == [10, 15, 15, 14, 12]


def test_nouns():
    assert [noun(name) for name in ("pcb3", "macaroni2", "bottle", "left_shoe")] == [
        "printed circuit board",
        "macaroni",
        "bottle",
        "left shoe",
    ]


def test_states_behind_the_noun():
    assert [after_noun(template) for template in ("damaged {}", "{} with flaw")] == ["{} damaged", "{} with flaw"]


def test_every_prompt_set_is_encoded_as_if_alone():
    method = make_method()
    features = {"global": torch.zeros(1, 32), "local": torch.zeros(1, 1, 32)}
    jobs = [method.job("carpet", "mvtec", "cls", features), method.job("pcb1", "visa", "seg", features)]
    sets = [(job.prompts, job.contexts) for job in jobs]
    for together, one in zip(encode_prompts(method.clip, sets), sets, strict=True):
        (alone,) = encode_prompts(method.clip, [one])
        assert_close(together.manual, alone.manual)
        assert_close(together.learned, alone.learned)


def test_context_of_another_prompt_changes_nothing():
    method = make_method(task="cls")
    job = method.job("carpet", "mvtec", "cls", {"global": torch.zeros(1, 32)})
    before = encode_prompts(method.clip, [(job.prompts, job.contexts)])[0]
    job.contexts.abnormal[1] += 1
    after = encode_prompts(method.clip, [(job.prompts, job.contexts)])[0]
    changed = (before.learned != after.learned).any(dim=1)
    assert changed.tolist() == [i % 4 == 1 for i in range(12)]
    assert torch.equal(before.normal, after.normal)
    assert torch.equal(before.manual, after.manual)


# Losses


def text_features(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TextFeatures(*(3 * torch.randn(n, 8, generator=generator) for n in (2, 6, 4)))


def test_prototypes_are_means_of_raw_features():
    text = text_features()
    abnormal = torch.cat([text.manual, text.learned])
    found = text.prototypes("mean_of_raw")
    assert_close(found[0], torch.nn.functional.normalize(text.normal.mean(0), dim=0))
    assert_close(found[1], torch.nn.functional.normalize(abnormal.mean(0), dim=0))
    other = text.prototypes("mean_of_normalised")[1]
    assert_close(other, torch.nn.functional.normalize(torch.nn.functional.normalize(abnormal, dim=1).mean(0), dim=0))
    assert not torch.allclose(found[1], other)


@pytest.mark.parametrize("axis", ["tokens", "channels"])
def test_losses_of_maps_follow_the_formulas(axis):
    text, settings = text_features(), FitSettings(margin=0.3, margin_axis=axis, logit_scale=2.5)
    visual = torch.nn.functional.normalize(torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(4)), dim=-1)
    terms = losses(visual, text, settings)
    w_n, w_a = text.prototypes("mean_of_raw")
    abnormal = [row / row.norm() for row in torch.cat([text.manual, text.learned])]
    contrastive = []
    for patch in visual.reshape(-1, 8):
        exponents = torch.stack([2.5 * patch @ w for w in (w_n, *abnormal)])
        contrastive.append(-(exponents[0] - exponents.exp().sum().log()))
    assert_close(terms["contrastive"], torch.stack(contrastive).mean())
    difference = (visual - w_n) ** 2 - (visual - w_a) ** 2
    summed = difference.sum(dim=1 if axis == "tokens" else 2)
    assert_close(terms["margin"], (summed + 0.3).clamp(min=0).mean())
    gap = torch.stack(abnormal[:6]).mean(0) - torch.stack(abnormal[6:]).mean(0)
    assert_close(terms["alignment"], gap @ gap)


def test_margin_of_image_features_is_over_channels_whatever_the_axis():
    text, visual = text_features(), torch.nn.functional.normalize(torch.ones(2, 8), dim=1)
    margins = [losses(visual, text, FitSettings(margin_axis=axis))["margin"] for axis in ("tokens", "channels")]
    assert torch.equal(*margins)


def test_learning_rate_is_a_cosine_over_epochs():
    settings = FitSettings(epochs=4, lr=0.1, eta_min=0.02)
    assert [round(learning_rate(epoch, settings), 6) for epoch in range(4)] == [0.1, 0.088284, 0.06, 0.031716]


# Fitting


def test_fitting_lowers_the_loss_of_both_tasks():
    method = make_method(epochs=20)
    features = method.support_features(support(4).images)
    jobs = [method.job("carpet", "mvtec", task, features) for task in ("cls", "seg")]
    steps = list(fit(method.clip, jobs, method.fitting))
    for number in range(2):
        first, last = (float(sum(step.terms[number].values()).detach()) for step in (steps[0], steps[-1]))
        assert last < first - 0.01


def test_gradient_reaches_contexts_and_nothing_else():
    method = make_method(epochs=1)
    features = method.support_features(support().images)
    jobs = [method.job("carpet", "mvtec", task, features) for task in ("cls", "seg")]
    next(iter(fit(method.clip, jobs, method.fitting)))
    for job in jobs:
        for tensor in (job.contexts.normal, job.contexts.abnormal):
            assert tensor.grad.abs().sum(dim=(1, 2)).gt(0).all()
        assert not job.visual.requires_grad
    assert all(parameter.grad is None for parameter in method.clip.parameters())


def test_one_step_of_descent_by_hand():
    method = make_method(epochs=1, lr=0.1, weight_decay=0.01)
    features = method.support_features(support().images)
    job = method.job("carpet", "mvtec", "cls", features)
    before = job.contexts.normal.clone()
    next(iter(fit(method.clip, [job], method.fitting)))
    assert_close(job.contexts.normal.detach(), before - 0.1 * (job.contexts.normal.grad + 0.01 * before))


def test_several_classes_as_one_batch_equal_one_by_one():
    alone, together = make_method(), make_method()
    supports = {name: support(seed=number) for number, name in enumerate(CLASSES)}
    for name, images in supports.items():
        alone.adapt(name, images)
    together.adapt_classes(supports)
    ours, theirs = alone.learnable_state(), together.learnable_state()
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert_close(value, theirs[key], atol=2e-5, rtol=1e-4)


def test_every_class_begins_with_the_same_values_in_any_order():
    one, other = make_method(), make_method()
    one.adapt("carpet", support())
    one.adapt("bottle", support(seed=5))
    other.adapt("bottle", support(seed=5))
    for key, value in other.learnable_state().items():
        assert torch.equal(value, one.learnable_state()[key])


def test_steps_take_the_images_in_turn():
    method = make_method(batch_size=2, epochs=2)
    features = method.support_features(support(5).images)
    job = method.job("carpet", "mvtec", "cls", features)
    assert [index.tolist() for index in job.order] == [[0, 1], [2, 3], [4]]
    assert len(list(fit(method.clip, [job], method.fitting))) == 6
    assert len(job.prototypes) == 2


def test_prototypes_of_an_epoch_are_those_of_its_last_contexts():
    method = make_method(epochs=2)
    features = method.support_features(support().images)
    job = method.job("carpet", "mvtec", "cls", features)
    after = []
    for _ in fit(method.clip, [job], method.fitting):
        with torch.no_grad():
            text = encode_prompts(method.clip, [(job.prompts, job.contexts)])[0]
        after.append(text.prototypes("mean_of_raw"))
    for ours, theirs in zip(job.prototypes, after, strict=True):
        assert_close(ours, theirs)


def test_without_epochs_the_prompts_stay_as_they_begin():
    method = make_method(epochs=0)
    method.adapt("carpet", support())
    prompts = method.memory["carpet"].prompts["cls"]
    assert torch.equal(prompts.contexts.normal, method.initial["cls"].normal)
    assert prompts.per_epoch.shape == (1, 2, 32)
    assert method.predict(replace(make_batch(), class_names=["carpet"] * 4)).scores.isfinite().all()


def test_divergence_is_one_clear_line():
    with pytest.raises(UserError, match=r"class 'carpet' \(cls\) has diverged.*Lower method\.lr"):
        make_method(lr=1e30, epochs=4).adapt("carpet", support())


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
    memory = method.memory["carpet"]
    visual = torch.zeros(4, 4, 4)
    for layer, gallery in enumerate(memory.galleries, start=1):
        for image in range(4):
            for patch, vector in enumerate(features[f"memory{layer}"][image]):
                nearest = min(float(1 - vector @ normal) for normal in gallery)
                visual[image, patch // 4, patch % 4] += nearest / 4
    scale = float(method.clip.model.logit_scale)

    def abnormal(vectors, task):
        return (scale * vectors @ memory.prompts[task].prototypes.T).softmax(dim=-1)[..., 1]

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
    for method in (bgr, rgb):  # features made by `encode` are of the wrong order for the memory of bgr
        method.adapt("carpet", support(), method.encode(support()))
    assert_close(bgr.memory["carpet"].galleries[0], rgb.memory["carpet"].galleries[0])


def test_class_that_was_not_fitted():
    method = fitted()
    batch = replace(make_batch(), class_names=["wood"] * 4)
    with pytest.raises(UserError, match=r"no normal images of class 'wood'.*carpet, metal_nut, pipe-fryum"):
        method.predict(batch)


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "map"}, "task is 'map'"),
        ({"pairing": "all"}, "pairing is 'all'"),
        ({"variant": None}, "variant is None"),
        ({"n_ctx": 0}, "n_ctx is 0, below 1"),
        ({"epochs": -1}, "epochs is -1"),
        ({"memory_blocks": [2, 7]}, r"memory_blocks is \[2, 7\] for 4 blocks"),
        ({"img_resize": 16, "img_cropsize": 32}, "larger than the image"),
        ({"n_prompts": 3}, "did you mean 'n_pro'"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(UserError, match=f"(?i){message}"):
        make_method(**settings)


def test_paper_variant_sets_its_switches_unless_they_are_given():
    paper = make_method(variant="paper", pairing="modulo")
    assert paper.style.lap_position == paper.style.manual_form == "after_noun"
    assert (paper.style.pairing, paper.fitting.margin_axis, paper.bgr) == ("modulo", "channels", False)
    assert paper.scale == pytest.approx(float(paper.clip.model.logit_scale.exp()))
    assert make_method().scale == pytest.approx(float(paper.clip.model.logit_scale))
    assert not paper.taps_attention


def test_memory_lies_as_deep_in_a_smaller_tower():
    assert make_method().memory_blocks == [2, 4]  # of the wrapper, counted from 1: attention of 1 and 3 from 0


def test_hyperparameters_are_recorded_as_given():
    method = make_method()
    names = method_class("promptad").hyperparameter_names()
    assert list(method.hyperparameters) == names
    defaults = {p.name: p.default for p in inspect.signature(method_class("promptad")).parameters.values()}
    assert method.hyperparameters == {name: defaults[name] for name in names} | {
        "epochs": 3,
        "resolution": 24,
        "lr": 0.05,
    }


def test_jobs_do_not_share_their_contexts():
    method = make_method()
    features = method.support_features(support().images)
    first = method.job("carpet", "mvtec", "cls", features)
    assert isinstance(first, Job)
    assert isinstance(first.contexts, Contexts)
    first.contexts.normal.add_(1)
    assert not torch.equal(first.contexts.normal, method.job("carpet", "mvtec", "cls", features).contexts.normal)


# Selection on test


def test_best_epoch_is_that_of_the_highest_auroc_the_first_on_ties():
    method = make_method(epochs=6, select="best_on_test", map_blur_sigma=0.0)
    method.adapt("carpet", support())
    batch = make_batch(8, size=24)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = replace(batch, images=images, class_names=["carpet"] * 8)
    features, memory = method.encode(batch), method.memory["carpet"]
    found = {"cls": [], "seg": []}
    for epoch in range(6):
        for task, fitted_prompts in list(memory.prompts.items()):
            memory.prompts[task] = replace(fitted_prompts, prototypes=fitted_prompts.per_epoch[epoch])
        prediction = method.score(features, batch)
        image = ImageMetrics().update(prediction.scores.numpy(), batch.labels.numpy()).compute()
        pixel = PixelMetrics().update(prediction.maps.numpy(), batch.masks.numpy()).compute()
        found["cls"].append(image["image_auroc"])
        found["seg"].append(pixel["pixel_auroc"])
    assert method.selects_on_test
    halves = [rows(batch, slice(0, 3)), rows(batch, slice(3, 8))]
    method.select_on_test("carpet", [(method.encode(half), half) for half in halves])
    for task, aurocs in found.items():
        chosen = memory.prompts[task]
        assert torch.equal(chosen.prototypes, chosen.per_epoch[aurocs.index(max(aurocs))])
