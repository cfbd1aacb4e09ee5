"""PromptAD's semantic concatenation: learnable contexts, nouns and anomaly suffixes, from sentences to prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.methods.promptad.settings import PromptAdSettings, Prototype
from adbench.methods.promptad.states import after_noun, templates_of
from adbench.methods.promptad.states import noun as noun_of

NORMAL_KEY, ABNORMAL_KEY = "prompt_learner.normal_ctx", "prompt_learner.abnormal_ctx"


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts of one class: N normal rows, then M x N with manual, then L x N with learnable suffixes (Q in all).

    ids             (Q, 77) token ids; contexts stand in for those at learnable positions
    normal          (Q,) which normal context fills positions 1 ... n_ctx
    abnormal        (L * N,) which abnormal context the last rows have
    abnormal_start  (L * N,) the position at which it begins
    counts          rows of each kind
    """

    ids: Tensor
    normal: Tensor
    abnormal: Tensor
    abnormal_start: Tensor
    counts: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What the text tower says of `Prompts`, not normalised: normal (N, E), manual (M * N, E), learned (L * N, E)."""

    normal: Tensor
    manual: Tensor
    learned: Tensor

    def prototypes(self, kind: Prototype) -> Tensor:
        """The normal and the abnormal direction, (2, E) of unit length: all rows of a state weigh the same."""
        states = (self.normal, torch.cat([self.manual, self.learned]))
        if kind == "mean_of_normalised":
            states = (F.normalize(states[0], dim=-1), F.normalize(states[1], dim=-1))
        return F.normalize(torch.stack([state.mean(dim=0) for state in states]), dim=-1)


def make_prompts(
    clip: Clip, class_name: str, dataset: str, *, n_normal: int, n_abnormal: int, settings: PromptAdSettings
) -> Prompts:
    """Write and tokenize the prompts of a class for N = n_normal and L = n_abnormal contexts."""
    noun = noun_of(class_name)
    templates = templates_of(class_name, dataset, settings.suffixes)
    if settings.manual_form == "after_noun":
        templates = [after_noun(template) for template in templates]
    context, words = " ".join("N" * settings.n_ctx), " ".join("A" * settings.n_ctx_ab)
    before = settings.lap_position == "before_noun"
    normal = torch.arange(n_normal)
    row = torch.arange(n_normal * n_abnormal)
    texts = [f"{context} {noun}."] * n_normal
    for template in templates:
        texts += [f"{context} {template.format(noun)}."] * n_normal
    texts += [f"{context} {words} {noun}." if before else f"{context} {noun} {words}."] * len(row)
    noun_length = int(clip.tokenize([noun]).argmax()) - 1
    return Prompts(
        ids=clip.tokenize(texts),
        normal=torch.cat([normal.repeat(1 + len(templates)), row % n_normal]),
        # Where N and L share a factor, "modulo" repeats some pairs and never forms others.
        abnormal=row % n_abnormal if settings.pairing == "modulo" else row // n_normal,
        abnormal_start=torch.full_like(row, 1 + settings.n_ctx + (0 if before else noun_length)),
        counts=(n_normal, n_normal * len(templates), len(row)),
    )


@dataclass(frozen=True, slots=True)
class Contexts:
    """Learnable tokens of one class: normal (N, n_ctx, W) and abnormal (L, n_ctx_ab, W)."""

    normal: Tensor
    abnormal: Tensor

    @classmethod
    def drawn(cls, n_normal: int, settings: PromptAdSettings, width: int) -> Contexts:
        """Fresh values from N(0, init_std^2): the normal ones first, as the authors' code draws them."""
        normal = torch.randn(n_normal, settings.n_ctx, width)
        abnormal = torch.randn(settings.n_pro_ab, settings.n_ctx_ab, width)
        return cls(settings.init_std * normal, settings.init_std * abnormal)

    def named(self) -> dict[str, Tensor]:
        """By the names of the authors' prompt learner."""
        return {NORMAL_KEY: self.normal, ABNORMAL_KEY: self.abnormal}


def prompt_embeddings(clip: Clip, prompts: Prompts, contexts: Contexts, length: int | None = None) -> Tensor:
    """Token embeddings (Q, length, W) with the contexts in place, without positions; default: all 77 tokens."""
    device = contexts.normal.device
    tokens: Tensor = clip.model.token_embedding(prompts.ids[:, :length].to(device)).to(contexts.normal.dtype)
    n_ctx, n_ctx_ab = contexts.normal.shape[1], contexts.abnormal.shape[1]
    tokens = torch.cat([tokens[:, :1], contexts.normal[prompts.normal.to(device)], tokens[:, 1 + n_ctx :]], dim=1)
    learned = torch.arange(len(tokens) - prompts.counts[2], len(tokens), device=device)
    places = prompts.abnormal_start.to(device)[:, None] + torch.arange(n_ctx_ab, device=device)
    return tokens.index_put((learned[:, None], places), contexts.abnormal[prompts.abnormal.to(device)])


def encode_prompts(clip: Clip, sets: Sequence[tuple[Prompts, Contexts]]) -> list[TextFeatures]:
    """Run several prompt sets (classes, tasks) through the text tower together: prompts of equal length as one batch.

    Cropping each behind its end is exact and saves a sixth of the time over cropping all behind the longest's.
    """
    ids = torch.cat([prompts.ids for prompts, _ in sets])
    ends = ids.argmax(dim=-1)
    tokens = torch.cat([prompt_embeddings(clip, prompts, contexts, int(ends.max()) + 1) for prompts, contexts in sets])
    rows = [(ends == end).nonzero()[:, 0] for end in ends.unique()]
    parts = [clip.text_blocks(clip.embed_text(ids[row], embeddings=tokens[row.to(tokens.device)])) for row in rows]
    features = torch.cat(parts)[torch.cat(rows).argsort()]  # (sum of Q, E)
    counts = [count for prompts, _ in sets for count in prompts.counts]
    kinds = iter(features.split(counts))
    return [TextFeatures(next(kinds), next(kinds), next(kinds)) for _ in sets]
