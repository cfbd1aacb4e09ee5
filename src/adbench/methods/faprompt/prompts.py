"""FAPrompt's learnable text side: compound abnormality prompts (CAP) and the data-dependent prior (DAP)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adbench.clip import Clip, TextInput
from adbench.clip.towers import KeysValues
from adbench.methods.faprompt.copies import for_equal
from adbench.methods.faprompt.settings import FaPromptSettings
from adbench.methods.learned_prompts import ValueCache, deep_copies, deep_tables, from_second_block, prompt_sentence


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

    def __init__(self, clip: Clip, settings: Any) -> None:
        """`settings`: a FaPromptSettings, decided."""
        shared = [settings.normal_filler] * settings.n_ctx_pos
        owned = [settings.abnormal_filler] * settings.n_ctx_neg
        state, thing, suffix = settings.abnormal_state_word, settings.object_word, settings.prompt_suffix
        both = clip.tokenize(
            [
                prompt_sentence(*shared, thing, suffix=suffix),
                prompt_sentence(*shared, *owned, state, thing, suffix=suffix),
            ]
        )
        behind = 1 + len(shared)
        one_token_each = (both[:, 1:behind] == both[0, 1]).all() and (
            both[1, behind : behind + len(owned)] == both[1, behind]
        ).all()
        if not one_token_each:
            fillers = f"{settings.normal_filler!r} and {settings.abnormal_filler!r}"
            raise ValueError(f"fillers {fillers} must be one token each")
        self.normal, self.abnormal = both[:1], both[1:].expand(settings.num_abnormal_prompts, -1)
        self.n_shared, self.n_own = len(shared), len(owned)


class PromptLearner(nn.Module):
    """Everything that FAPrompt learns, under the authors' names; made in the order of their random stream."""

    def __init__(self, clip: Clip, words: PromptWords, settings: FaPromptSettings) -> None:
        super().__init__()
        width, n_abnormal = clip.text_width, len(words.abnormal)
        self.words, self.half_cast = words, settings.deep_token_half_cast
        self.lengths = [  # up to the end token, but with room for the deep tokens
            max(int(ids.argmax(dim=-1).max()) + 1, settings.deep_tokens + 2) for ids in (words.normal, words.abnormal)
        ]
        # What all prompts begin with: start and V tokens; the start alone where deep tokens take A's places too.
        self.n_common = 1 + words.n_shared if settings.deep_tokens <= words.n_shared else 1
        self.patch_meta_net = PriorNetwork(settings.num_prior_patches * clip.embed_dim, width)
        self.ctx_pos = nn.Parameter(nn.init.normal_(torch.empty(1, 1, words.n_shared, width), std=0.02))
        self.ctx_neg = nn.Parameter(nn.init.normal_(torch.empty(1, n_abnormal, words.n_own, width), std=0.02))
        self.compound_prompts_text = deep_tables(settings.deep_depth, settings.deep_tokens, width)
        self._start = ValueCache()

    def prior(self, patches: Tensor) -> Tensor:
        """The prior (B, W) from M chosen patch features (B, M, C) of each image."""
        prior: Tensor = self.patch_meta_net(patches.flatten(1))
        return prior

    def normal_embeddings(self, clip: Clip, length: int) -> Tensor:
        """Token embeddings (1, length, W) of the normal prompt."""
        frozen = clip.model.token_embedding(self.words.normal[:, :length].to(clip.device))
        return torch.cat([frozen[:, :1], self.ctx_pos[0].to(frozen.dtype), frozen[:, 1 + self.words.n_shared :]], dim=1)

    def abnormal_embeddings(self, clip: Clip, length: int, prior: Tensor | None = None) -> Tensor:
        """Token embeddings (K, length, W) of the abnormal prompts; with priors (B, W) on A tokens (B, K, length, W)."""
        frozen = clip.model.token_embedding(self.words.abnormal[:, :length].to(clip.device))  # (K, length, W)
        abnormal = self.ctx_neg[0].to(frozen.dtype)  # (K, E', W)
        if prior is not None:
            abnormal = abnormal + prior[:, None, None, :]  # (B, K, E', W)
            frozen = frozen.expand(prior.shape[0], -1, -1, -1)
        shared = self.ctx_pos[0].to(frozen.dtype).expand(*abnormal.shape[:-2], -1, -1)
        behind = 1 + self.words.n_shared + self.words.n_own
        return torch.cat([frozen[..., :1, :], shared, abnormal, frozen[..., behind:, :]], dim=-2)

    # The text pass. In the authors' code every prompt has its own copies of the deep tokens, rounded to fp16, and the
    # gradient of every copy is rounded too, before they are added. So the number of copies counts, of equal ones too.

    def beginnings(self, clip: Clip, n: int) -> KeysValues:
        """Keys and values of what n prompts have in common."""
        with torch.no_grad():
            embedded = clip.embed_text(self.words.normal[:, :1]).tokens
            start: KeysValues = self._start.get([embedded], lambda: clip.begin_text(embedded))
        if self.n_common == 1:
            return start
        positions = clip.model.positional_embedding[1 : self.n_common]

        def begin(tensors: Sequence[Tensor]) -> list[Tensor]:
            *deep, shared = tensors
            tokens = shared.to(positions.dtype) + positions
            return _flat(clip.begin_text(tokens, overwrite=from_second_block(deep), earlier=start))

        return _by_block(for_equal(begin, [*self._deep(clip, n), self.ctx_pos[0].expand(n, -1, -1)]))

    def normal_features(self, clip: Clip, beginnings: KeysValues, n: int) -> Tensor:
        """Text feature of the normal prompt, not normalised, n times: (n, C)."""
        embeddings = self.normal_embeddings(clip, self.lengths[0]).expand(n, -1, -1)
        return self._continue(clip, self.words.normal, embeddings, beginnings)

    def abnormal_features(self, clip: Clip, beginnings: KeysValues, prior: Tensor | None = None) -> Tensor:
        """Text features of the abnormal prompts, not normalised: (K, C), or (B, K, C) with priors (B, W)."""
        embeddings = self.abnormal_embeddings(clip, self.lengths[1], prior)  # (K, T, W) or (B, K, T, W)
        flat = self._continue(clip, self.words.abnormal, embeddings.flatten(0, -3), beginnings)
        features: Tensor = flat.unflatten(0, embeddings.shape[:-2])
        return features

    def _continue(self, clip: Clip, ids: Tensor, embeddings: Tensor, beginnings: KeysValues) -> Tensor:
        """Text features (n, C) of prompts of these words with embeddings (n, T, W)."""
        n, length = embeddings.shape[:2]
        tokens = embeddings[:, self.n_common :] + clip.model.positional_embedding[self.n_common : length]
        text = TextInput(tokens, ids[:1].to(clip.device).argmax(dim=-1).expand(n) - self.n_common)
        deep = from_second_block(self._deep(clip, n)) if self.n_common == 1 else None
        return clip.text_blocks(text, earlier=beginnings, overwrite=deep)

    def _deep(self, clip: Clip, n: int) -> list[Tensor]:
        """n copies of the deep tokens that a block of the text tower takes."""
        tables = list(self.compound_prompts_text)[: clip.n_text_layers - 1]
        return [deep_copies(table, n, half_cast=self.half_cast) for table in tables]


def split(keys_values: KeysValues, sizes: Sequence[int]) -> list[KeysValues]:
    """Parts of `sizes` sequences each; one copy serves them all."""
    if len(keys_values[1][0]) == 1:
        return [keys_values] * len(sizes)
    parts = [tensor.split(list(sizes)) for tensor in _flat(keys_values)]
    return [_by_block([part[i] for part in parts]) for i in range(len(sizes))]


def _flat(keys_values: KeysValues) -> list[Tensor]:
    return [tensor for pair in keys_values.values() for tensor in pair]


def _by_block(tensors: Sequence[Tensor]) -> KeysValues:
    pairs = iter(tensors)
    return dict(enumerate(zip(pairs, pairs, strict=True), start=1))
