"""PromptAD's losses against their formulas, and the descent of its contexts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from adbench.errors import UserError
from adbench.methods.promptad.fitting import Job, fit, learning_rate, losses
from adbench.methods.promptad.prompts import Contexts, TextFeatures, encode_prompts
from adbench.methods.promptad.settings import PromptAdSettings
from fitted_promptad import CLASSES, make_method, support
from tiny import make_batch

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
    text, settings = text_features(), PromptAdSettings(margin=0.3, margin_axis=axis)
    visual = torch.nn.functional.normalize(torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(4)), dim=-1)
    terms = losses(visual, text, settings, 2.5)
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
    margins = [
        losses(visual, text, PromptAdSettings(margin_axis=axis), 4.6)["margin"] for axis in ("tokens", "channels")
    ]
    assert torch.equal(*margins)


def test_learning_rate_is_a_cosine_over_epochs():
    settings = PromptAdSettings(epochs=4, lr=0.1, eta_min=0.02)
    assert [round(learning_rate(epoch, settings), 6) for epoch in range(4)] == [0.1, 0.088284, 0.06, 0.031716]


# Fitting


def test_fitting_lowers_the_loss_of_both_tasks():
    method = make_method(epochs=20)
    features = method.vv_clip.support_features(support(4).images)
    jobs = [method.job("carpet", "mvtec", task, features) for task in ("cls", "seg")]
    steps = list(fit(method.clip, jobs, method.settings, method.scale))
    for number in range(2):
        first, last = (float(sum(step.terms[number].values()).detach()) for step in (steps[0], steps[-1]))
        assert last < first - 0.01


def test_gradient_reaches_contexts_and_nothing_else():
    method = make_method(epochs=1)
    features = method.vv_clip.support_features(support().images)
    jobs = [method.job("carpet", "mvtec", task, features) for task in ("cls", "seg")]
    next(iter(fit(method.clip, jobs, method.settings, method.scale)))
    for job in jobs:
        for tensor in (job.contexts.normal, job.contexts.abnormal):
            assert tensor.grad.abs().sum(dim=(1, 2)).gt(0).all()
        assert not job.visual.requires_grad
    assert all(parameter.grad is None for parameter in method.clip.parameters())


def test_one_step_of_descent_by_hand():
    method = make_method(epochs=1, lr=0.1, weight_decay=0.01)
    features = method.vv_clip.support_features(support().images)
    job = method.job("carpet", "mvtec", "cls", features)
    before = job.contexts.normal.clone()
    next(iter(fit(method.clip, [job], method.settings, method.scale)))
    assert_close(job.contexts.normal.detach(), before - 0.1 * (job.contexts.normal.grad + 0.01 * before))


def test_several_classes_as_one_batch_equal_one_by_one():
    method = make_method()

    def jobs():
        found = {name: method.encode_support(support(seed=number)) for number, name in enumerate(CLASSES)}
        return [method.job(name, "mvtec", task, found[name]) for name in CLASSES for task in ("cls", "seg")]

    alone, together = jobs(), jobs()
    for group in (together, *([job] for job in alone)):
        for _ in fit(method.clip, group, method.settings, method.scale):
            pass
    for ours, theirs in zip(alone, together, strict=True):
        assert_close(torch.stack(ours.prototypes), torch.stack(theirs.prototypes), atol=2e-5, rtol=1e-4)


def test_every_class_begins_with_the_same_values_in_any_order():
    one, other = make_method(), make_method()
    one.adapt("carpet", support())
    one.adapt("bottle", support(seed=5))
    other.adapt("bottle", support(seed=5))
    for key, value in other.learnable_state().items():
        assert torch.equal(value, one.learnable_state()[key])


def test_steps_take_the_images_in_turn():
    method = make_method(batch_size=2, epochs=2)
    features = method.vv_clip.support_features(support(5).images)
    job = method.job("carpet", "mvtec", "cls", features)
    assert [index.tolist() for index in job.order] == [[0, 1], [2, 3], [4]]
    assert len(list(fit(method.clip, [job], method.settings, method.scale))) == 6
    assert len(job.prototypes) == 2


def test_prototypes_of_an_epoch_are_those_of_its_last_contexts():
    method = make_method(epochs=2)
    features = method.vv_clip.support_features(support().images)
    job = method.job("carpet", "mvtec", "cls", features)
    after = []
    for _ in fit(method.clip, [job], method.settings, method.scale):
        with torch.no_grad():
            text = encode_prompts(method.clip, [(job.prompts, job.contexts)])[0]
        after.append(text.prototypes("mean_of_raw"))
    for ours, theirs in zip(job.prototypes, after, strict=True):
        assert_close(ours, theirs)


def test_without_epochs_the_prompts_stay_as_they_begin():
    method = make_method(epochs=0)
    method.adapt("carpet", support())
    prompts = method.memory_bank["carpet"].prompts["cls"]
    assert torch.equal(prompts.contexts.normal, method.initial["cls"].normal)
    assert prompts.per_epoch.shape == (1, 2, 32)
    assert method.predict(replace(make_batch(), class_names=["carpet"] * 4)).scores.isfinite().all()


def test_divergence_is_one_clear_line():
    with pytest.raises(UserError, match=r"class 'carpet' \(cls\) has diverged.*Lower method\.lr"):
        make_method(lr=1e30, epochs=4).adapt("carpet", support())


def test_jobs_do_not_share_their_contexts():
    method = make_method()
    features = method.vv_clip.support_features(support().images)
    first = method.job("carpet", "mvtec", "cls", features)
    assert isinstance(first, Job)
    assert isinstance(first.contexts, Contexts)
    first.contexts.normal.add_(1)
    assert not torch.equal(first.contexts.normal, method.job("carpet", "mvtec", "cls", features).contexts.normal)
