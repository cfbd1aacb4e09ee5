"""FAPrompt's learnable text side: compound abnormality prompts (CAP) and the data-dependent prior (DAP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adbench.clip import Clip
from adbench.methods.learned_prompts import deep_edit, deep_tables, prompt_sentence


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

    normal    (1, 77): start, V1...VE, object, suffix, end
    abnormal  (K, 77): start, V1...VE, A1...AE', state word, object, suffix, end; the same ids K times
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
        """`words`: fillers in the places of V and A, state word, object word."""
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


class PromptLearner(nn.Module):
    """Everything that FAPrompt learns, under the authors' names; made in the order of their random stream."""

    def __init__(
        self,
        clip: Clip,
        words: PromptWords,
        *,
        n_prior_patches: int,
        deep_depth: int,
        deep_tokens: int,
        half_cast: bool,
    ) -> None:
        super().__init__()
        width, n_abnormal = clip.text_width, len(words.abnormal)
        self.words, self.half_cast = words, half_cast
        self.min_length = deep_tokens + 2  # room for the deep tokens, however short the prompts
        self.patch_meta_net = PriorNetwork(n_prior_patches * clip.embed_dim, width)
        self.ctx_pos = nn.Parameter(nn.init.normal_(torch.empty(1, 1, words.n_shared, width), std=0.02))
        self.ctx_neg = nn.Parameter(nn.init.normal_(torch.empty(1, n_abnormal, words.n_own, width), std=0.02))
        self.compound_prompts_text = deep_tables(deep_depth, deep_tokens, width)

    def prior(self, patches: Tensor) -> Tensor:
        """The prior (B, W) from M chosen patch features (B, M, C) of each image."""
        prior: Tensor = self.patch_meta_net(patches.flatten(1))
        return prior

    def normal_embeddings(self, clip: Clip) -> Tensor:
        """Token embeddings (1, 77, W) of the normal prompt."""
        frozen = clip.model.token_embedding(self.words.normal.to(clip.device))
        shared = self.ctx_pos[0].to(frozen.dtype)
        return torch.cat([frozen[:, :1], shared, frozen[:, 1 + self.words.n_shared :]], dim=1)

    def abnormal_embeddings(self, clip: Clip, prior: Tensor | None = None) -> Tensor:
        """Token embeddings (K, 77, W) of the abnormal prompts; (B, K, 77, W) with a prior (B, W) on their A tokens."""
        frozen = clip.model.token_embedding(self.words.abnormal.to(clip.device))  # (K, 77, W)
        own = self.ctx_neg[0].to(frozen.dtype)  # (K, E', W)
        if prior is not None:
            own = own + prior[:, None, None, :]  # (B, K, E', W)
            frozen = frozen.expand(len(prior), -1, -1, -1)
        shared = self.ctx_pos[0].to(frozen.dtype).expand(*own.shape[:-2], -1, -1)
        behind = 1 + self.words.n_shared + self.words.n_own
        return torch.cat([frozen[..., :1, :], shared, own, frozen[..., behind:, :]], dim=-2)

    def features_without_prior(self, clip: Clip) -> Tensor:
        """Text features (1 + K, C) of the normal and the abnormal prompts, not normalised."""
        ids = torch.cat([self.words.normal, self.words.abnormal])
        return self._encode(clip, ids, torch.cat([self.normal_embeddings(clip), self.abnormal_embeddings(clip)]))

    def features_with_prior(
        self, clip: Clip, prior: Tensor, *, normal_too: bool = False
    ) -> tuple[Tensor | None, Tensor]:
        """Abnormal text features (B, K, C) of each image, not normalised.

        The normal prompt does not depend on the image. `normal_too` encodes it for each image all the same, (B, C):
        the gradient of every copy of the deep tokens is rounded to fp16, so in training the number of copies counts.
        """
        n_images = len(prior)
        ids = self.words.abnormal.repeat(n_images, 1)
        embeddings = self.abnormal_embeddings(clip, prior).flatten(0, 1)
        if normal_too:
            ids = torch.cat([self.words.normal.repeat(n_images, 1), ids])
            embeddings = torch.cat([self.normal_embeddings(clip).expand(n_images, -1, -1), embeddings])
        encoded = self._encode(clip, ids, embeddings)
        normal = encoded[:n_images] if normal_too else None
        return normal, encoded[n_images if normal_too else 0 :].unflatten(0, (n_images, -1))

    def _encode(self, clip: Clip, ids: Tensor, embeddings: Tensor) -> Tensor:
        text = clip.embed_text(ids, embeddings=embeddings, min_length=self.min_length)
        return clip.text_blocks(text, edit=deep_edit(self.compound_prompts_text, half_cast=self.half_cast))
