"""FAPrompt's two passes through the text tower, without and with each image's prior: which prompts, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.clip.towers import KeysValues
from adbench.methods.faprompt.prompts import PromptLearner, split
from adbench.methods.learned_prompts import ValueCache

# The prior (B, W), or what gives it for the prior-free features: normal (C,), abnormal (K, C).
Prior = Tensor | Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class RawText:
    """Text features that are not normalised, and the prior.

    normal          (1 + B, C) of the prior-free pass and of each image; their values are equal
    abnormal        (K, C) without prior
    prior           (B, W) what is added to every abnormal token
    abnormal_prior  (B, K, C) with each image's prior
    """

    normal: Tensor
    abnormal: Tensor
    prior: Tensor
    abnormal_prior: Tensor


def passes_in_training(clip: Clip, learner: PromptLearner, n_images: int, prior: Prior) -> RawText:
    """Every prompt has its own copies of the deep tokens: the prior-free pass once, the other once per image."""
    n_normal, n_abnormal = 1 + n_images, len(learner.words.abnormal)
    if isinstance(prior, Tensor):  # known beforehand: both passes at once, the first with a prior of zero
        counts = [n_normal, n_normal * n_abnormal]
    else:
        counts = [n_normal, n_abnormal, n_images * n_abnormal]
    for_normal, *for_abnormal = split(learner.beginnings(clip, sum(counts)), counts)
    normal = learner.normal_features(clip, for_normal, n_normal)
    if isinstance(prior, Tensor):
        both = learner.abnormal_features(clip, for_abnormal[0], F.pad(prior, (0, 0, 1, 0)))
        return RawText(normal, both[0], prior, both[1:])
    abnormal = learner.abnormal_features(clip, for_abnormal[0])
    of_images = prior(normal[0], abnormal)
    return RawText(normal, abnormal, of_images, learner.abnormal_features(clip, for_abnormal[1], of_images))


def passes_in_testing(clip: Clip, learner: PromptLearner, n_images: int, prior: Prior, cache: ValueCache) -> RawText:
    """The prior-free pass and what prompts have in common are computed once per set of weights."""

    def once() -> tuple[Tensor, Tensor, KeysValues]:
        beginning = learner.beginnings(clip, 1)
        return learner.normal_features(clip, beginning, 1), learner.abnormal_features(clip, beginning), beginning

    deciding = (learner.ctx_pos, learner.ctx_neg, *learner.compound_prompts_text)
    normal, abnormal, beginning = cache.get(deciding, once)
    of_images = prior if isinstance(prior, Tensor) else prior(normal[0], abnormal)
    with_prior = learner.abnormal_features(clip, beginning, of_images)
    return RawText(normal.expand(1 + n_images, -1), abnormal, of_images, with_prior)
