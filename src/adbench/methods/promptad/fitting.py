"""PromptAD's training: losses on frozen support features, and the descent of several classes' contexts at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.methods.promptad.prompts import Contexts, Prompts, TextFeatures, encode_prompts
from adbench.methods.promptad.settings import PromptAdSettings, Prototype


@dataclass(slots=True)
class Job:
    """What is fitted: the prompts of one class and task.

    visual      features of the K support images, unit length: (K, E) for the task cls, (K, P, E) for seg
    contexts    fitted in place
    order       which support images form the batch of each step; begun again when it is used up
    prototypes  (2, E) after each epoch; without any epoch, those of the contexts as they are
    """

    prompts: Prompts
    visual: Tensor
    contexts: Contexts
    order: Sequence[Tensor]
    prototypes: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has been made; the contexts still hold its gradients. `terms` and `text` are per job."""

    lr: float
    terms: list[dict[str, Tensor]]
    text: list[TextFeatures]
    optimizer: torch.optim.Optimizer


def losses(visual: Tensor, text: TextFeatures, settings: PromptAdSettings, scale: float) -> dict[str, Tensor]:
    """The contrastive, margin and alignment loss of a batch, unweighted: `total` weighs them. scale: see `logits`."""
    prototypes = text.prototypes(settings.prototype)
    pairs = logits(visual, text, settings.prototype, scale)
    contrastive = F.cross_entropy(pairs.flatten(0, -2), torch.zeros_like(pairs[..., 0], dtype=torch.long).flatten())
    # The authors' code sums over axis 1 of (B, E) or (B, P, E): over channels for an image, over patches for a map.
    axis = 1 if settings.margin_axis == "tokens" else -1
    to_normal, to_abnormal = (((visual - prototype) ** 2).sum(dim=axis) for prototype in prototypes)
    manual, learned = (F.normalize(rows, dim=-1).mean(dim=0) for rows in (text.manual, text.learned))
    return {
        "contrastive": contrastive,
        "margin": (to_normal - to_abnormal + settings.margin).relu().mean(),
        "alignment": ((manual - learned) ** 2).sum(),
    }


def total(terms: Mapping[str, Tensor], settings: PromptAdSettings) -> Tensor:
    """What is minimised."""
    return terms["contrastive"] + terms["margin"] + settings.lambda1 * terms["alignment"]


def logits(visual: Tensor, text: TextFeatures, prototype: Prototype, scale: float) -> Tensor:
    """`scale` x cosine with the normal prototype (column 0) and each abnormal prompt, manual first: (..., 1 + A)."""
    normal = text.prototypes(prototype)[:1]
    abnormal = F.normalize(torch.cat([text.manual, text.learned]), dim=-1)
    return scale * visual @ torch.cat([normal, abnormal]).T


def learning_rate(epoch: int, settings: PromptAdSettings) -> float:
    """Cosine from lr to eta_min over all epochs, constant within an epoch (counted from 0)."""
    cosine = (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
    return settings.eta_min + (settings.lr - settings.eta_min) * cosine


def fit(
    clip: Clip, jobs: Sequence[Job], settings: PromptAdSettings, scale: float, *, steps_per_epoch: int | None = None
) -> Iterator[Step]:
    """Fit the contexts of all jobs by SGD, a step per item; each job's `prototypes` gets one entry per epoch.

    steps_per_epoch  default: the longest of the jobs' orders, once through
    The jobs' losses are added. Their parameters are disjoint and SGD works by element, so each is fitted as if alone.
    """
    parameters = [tensor for job in jobs for tensor in (job.contexts.normal, job.contexts.abnormal)]
    sets = [(job.prompts, job.contexts) for job in jobs]
    optimizer = torch.optim.SGD(
        parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    n_steps = steps_per_epoch or max(len(job.order) for job in jobs)

    def keep_prototypes(text: Sequence[TextFeatures]) -> None:
        for job, features in zip(jobs, text, strict=True):
            job.prototypes.append(features.prototypes(settings.prototype).detach())

    for tensor in parameters:
        tensor.requires_grad_(True)
    for epoch in range(settings.epochs):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(epoch, settings)
        for step in range(n_steps):
            text = encode_prompts(clip, sets)
            if epoch > 0 and step == 0:  # these are the contexts that the epoch before ended with
                keep_prototypes(text)
            terms = [
                losses(job.visual[job.order[(epoch * n_steps + step) % len(job.order)]], features, settings, scale)
                for job, features in zip(jobs, text, strict=True)
            ]
            optimizer.zero_grad(set_to_none=True)
            torch.stack([total(part, settings) for part in terms]).sum().backward()
            optimizer.step()
            yield Step(learning_rate(epoch, settings), terms, text, optimizer)
    for tensor in parameters:
        tensor.requires_grad_(False)
    with torch.no_grad():
        keep_prototypes(encode_prompts(clip, sets))
