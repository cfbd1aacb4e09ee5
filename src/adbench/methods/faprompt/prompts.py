"""FAPrompt's learnable text side: compound abnormality prompts (CAP) and the data-dependent prior (DAP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.methods.learned_prompts import deep_edit, prompt_sentence


class PriorNetwork(nn.Module):
    """M patch features to one vector that is added to every abnormal token: (B, M * C) -> (B, W)."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(n_in, n_in // 16)
        self.linear2 = nn.Linear(n_in // 16, width)

    def forward(self, patches: Tensor) -> Tensor:
        """Two layers with ReLU between."""
        prior: Tensor = self.linear2(self.linear1(patches).relu())
        return prior


class PromptWords:
    """Token ids of one normal and K abnormal prompts, and where their learnable tokens lie.

    normal    start, V1...VE, object, suffix, end
    abnormal  start, V1...VE, A1...AE', state word, object, suffix, end: the same ids K times
    """

    def __init__(
        self,
        clip: Clip,
        *,
        n_ctx_pos: int,
        n_ctx_neg: int,
        n_abnormal: int,
        words: tuple[str, str, str, str],
        suffix: str,
    ) -> None:
        normal_filler, abnormal_filler, state, thing = words
        shared = [normal_filler] * n_ctx_pos
        both = clip.tokenize(
            [
                prompt_sentence(*shared, thing, suffix=suffix),
                prompt_sentence(*shared, *[abnormal_filler] * n_ctx_neg, state, thing, suffix=suffix),
            ]
        )
        behind = 1 + n_ctx_pos
        one_token_each = (both[:, 1:behind] == both[0, 1]).all() and (
            both[1, behind : behind + n_ctx_neg] == both[1, behind]
        ).all()
        if not one_token_each:
            raise ValueError(f"fillers {normal_filler!r} and {abnormal_filler!r} must be one token each")
        self.normal, self.abnormal = both[:1], both[1:].expand(n_abnormal, -1)
        self.n_shared, self.n_own = n_ctx_pos, n_ctx_neg


def normal_embeddings(clip: Clip, words: PromptWords, ctx_pos: Tensor) -> Tensor:
    """Embeddings (1, 77, W) of the normal prompt; ctx_pos (1, 1, E, W)."""
    frozen = clip.model.token_embedding(words.normal.to(clip.device))
    return torch.cat([frozen[:, :1], ctx_pos[0].to(frozen.dtype), frozen[:, 1 + words.n_shared :]], dim=1)


def abnormal_embeddings(
    clip: Clip, words: PromptWords, ctx_pos: Tensor, ctx_neg: Tensor, prior: Tensor | None = None
) -> Tensor:
    """Embeddings (K, 77, W) of the abnormal prompts; (B, K, 77, W) with each image's prior (B, W) on its A tokens."""
    frozen = clip.model.token_embedding(words.abnormal.to(clip.device))  # (K, 77, W)
    own = ctx_neg[0].to(frozen.dtype)  # (K, E', W)
    lead = frozen.shape[:1]
    if prior is not None:
        own = own + prior[:, None, None, :]  # (B, K, E', W)
        lead = own.shape[:2]
        frozen = frozen.expand(*lead, -1, -1)
    shared = ctx_pos[0].to(frozen.dtype).expand(*lead, -1, -1)
    behind = 1 + words.n_shared + words.n_own
    return torch.cat([frozen[..., :1, :], shared, own, frozen[..., behind:, :]], dim=-2)


def encode_prompts(clip: Clip, ids: Tensor, embeddings: Tensor, tables: nn.ParameterList, *, half_cast: bool) -> Tensor:
    """Text features (n, C), not normalised, of prompts with ids (n, 77) and embeddings (n, 77, W), cropped."""
    n_deep = len(tables[0]) if len(tables) else 0
    text = clip.embed_text(ids, embeddings=embeddings, min_length=n_deep + 2)
    return clip.text_blocks(text, edit=deep_edit(tables, half_cast=half_cast))
