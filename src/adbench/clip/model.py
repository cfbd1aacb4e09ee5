"""`Clip`: a frozen open_clip model whose towers run through `run_blocks`.

Over 300 lines, for it is one class: all that a method can ask of a backbone stands in one place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adbench.clip.dense import MULTIPLE, DenseFeatures, convnext_features, fit_to_patches, project_convnext, tower_facts
from adbench.clip.lean_import import import_open_clip
from adbench.clip.towers import Edit, KeysValues, Streams, run_blocks
from adbench.errors import UserError

Interpolation = Literal["bicubic", "bilinear", "bicubic_antialias"]
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class TextInput:
    """Sentences ready for the text blocks.

    tokens  (n, T, width) token plus positional embeddings, cropped after the longest end-of-text position: the tower
            is causal, so what follows cannot change the feature
    end     (n,) int64 position of the end-of-text token
    """

    tokens: Tensor
    end: Tensor


class Clip(nn.Module):
    """A frozen CLIP with a ViT or a ConvNeXt image tower (`kind`).

    `image_size` is the input side in pixels that methods use; it may differ from the weights' own size, any multiple
    of the patch size works (a remainder is dropped by the patch convolution, as in every ViT). `name` and `source`
    say which weights these are. Nothing here has a gradient, but gradients flow through to edited tokens.
    Sizes that layers of a method need: `vision_width` and `text_width` of the towers' tokens, `embed_dim` of the shared
    space, `n_layers` and `n_text_layers` blocks, `grid` patches along a side.
    Both kinds have text, `dense` and `project_dense`; tokens, blocks, `project` and `encode_image` are the ViT's.
    """

    model: Any  # open_clip.CLIP, which ships no types

    def __init__(
        self,
        model: Any,
        *,
        name: str,
        source: str,
        quick_gelu: bool,
        image_size: int | None = None,
        mean: tuple[float, float, float] = OPENAI_MEAN,
        std: tuple[float, float, float] = OPENAI_STD,
    ) -> None:
        super().__init__()
        tower = tower_facts(getattr(model, "visual", None))
        if tower is None or not isinstance(getattr(model, "text_projection", None), nn.Parameter):
            raise UserError(
                f"backbone {name!r} is no CLIP with a classic ViT (class token pooling, linear projections) or a "
                "ConvNeXt image tower",
                where="clip",
                hint="choose one of `python -m adbench list clip`",
            )
        self.kind, self.pyramid_channels, self.dense_dim = tower.kind, dict(tower.pyramid_channels), tower.width
        self.model = model.eval().requires_grad_(False)
        self.name, self.source, self.quick_gelu = name, source, quick_gelu
        self.mean, self.std = mean, std
        visual = model.visual
        self.patch_size = tower.patch_size
        self.native_size = int(visual.image_size[0])
        self.image_size = self.native_size if image_size is None else image_size
        if self.image_size < self.patch_size:
            raise UserError(f"image size {self.image_size} is below the patch size {self.patch_size}", where="clip")
        self.vision_width = tower.width
        self.embed_dim = int(model.text_projection.shape[1])
        self.text_width = int(model.ln_final.weight.shape[0])
        self.n_layers = tower.n_layers
        self.n_text_layers = len(model.transformer.resblocks)
        self.context_length = int(model.context_length)
        self.is_compiled = False  # see `clip.compiled`

    def train(self, mode: bool = True) -> Clip:
        """Stay in evaluation mode: the backbone is frozen."""
        return super().train(False)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of tokens and features, and of all weights but the matrices of blocks (`blocks_dtype`)."""
        return self.model.text_projection.dtype  # type: ignore[no-any-return]

    @property
    def blocks_dtype(self) -> torch.dtype:
        """Precision that the matrices of the towers' blocks are held in (see `clip.precision`)."""
        return self.model.transformer.resblocks[0].mlp.c_fc.weight.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.text_projection.device  # type: ignore[no-any-return]

    @property
    def grid(self) -> int:
        """Patches per side at `image_size`."""
        return self.image_size // self.patch_size

    @cached_property
    def weights_sha256(self) -> str:
        """Hash of all weights as float32, whatever file they came from; of those held in less, before that."""
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(f"{key} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Provenance of the backbone, as JSON types."""
        sizes = ("image_size", "native_size", "patch_size", "embed_dim")
        names = ("name", "source", "quick_gelu", *sizes, "weights_sha256")
        described = {
            **{name: getattr(self, name) for name in names},
            "dtype": str(self.blocks_dtype).rpartition(".")[2],
        }
        return {**described, "compile": True} if self.is_compiled else described

    # Image tower

    def positions(self, grid: tuple[int, int], interpolation: Interpolation = "bicubic") -> Tensor:
        """Positional embedding (1 + h * w, V) for a grid of h x w patches, from the native one.

        The class position is kept, the rest is resized with align_corners=False and without antialias, which changes
        the result even when it enlarges; "bicubic_antialias" is open_clip's own resize.
        """
        native: Tensor = self.model.visual.positional_embedding
        side = tuple(self.model.visual.grid_size)
        if grid == side:
            return native
        table = native[1:].reshape(*side, -1).permute(2, 0, 1).unsqueeze(0)  # (1, V, h0, w0)
        mode, _, antialias = interpolation.partition("_")
        table = F.interpolate(table, size=grid, mode=mode, align_corners=False, antialias=bool(antialias))
        return torch.cat([native[:1], table.flatten(2).squeeze(0).T])

    def embed_image(self, images: Tensor, *, interpolation: Interpolation = "bicubic") -> Tensor:
        """Class and patch tokens with positions, *before* ln_pre: (B, 3, H, W) -> (B, 1 + h * w, V)."""
        visual = self.model.visual
        patches = visual.conv1(images.to(self.dtype))  # (B, V, h, w)
        grid = (patches.shape[-2], patches.shape[-1])
        tokens = patches.flatten(2).transpose(1, 2)
        class_token = visual.class_embedding.to(tokens.dtype).expand(tokens.shape[0], 1, -1)
        return torch.cat([class_token, tokens], dim=1) + self.positions(grid, interpolation)

    def image_blocks(
        self,
        tokens: Tensor,
        *,
        edit: Edit | None = None,
        local_from: int | None = None,
        collect: Collection[int] = (),
        collect_post_attention: Collection[int] = (),
        collect_local: Collection[int] = (),
        class_token_only: bool = False,
    ) -> Streams:
        """Run embedded tokens (B, T, V) through ln_pre and the image blocks; see `run_blocks`.

        class_token_only leaves out what the last block does at other rows, and returns tokens (B, 1, V).
        """
        return run_blocks(
            self.model.visual.transformer.resblocks,
            self.model.visual.ln_pre(tokens),
            edit=edit,
            local_from=local_from,
            collect=collect,
            collect_post_attention=collect_post_attention,
            collect_local=collect_local,
            last_row=0 if class_token_only else None,
        )

    def project(self, tokens: Tensor, *, ln_post: bool = True) -> Tensor:
        """Image tokens (..., V) into the joint space (..., C): ln_post, then visual.proj; not normalised."""
        tokens = self.model.visual.ln_post(tokens) if ln_post else tokens
        projection: Tensor = self.model.visual.proj
        return tokens @ projection

    def encode_image(self, images: Tensor) -> Tensor:
        """CLIP's image feature (B, C), not normalised."""
        tokens = self.embed_image(images)
        return self.project(self.image_blocks(tokens, class_token_only=True).tokens[:, 0])

    @torch.no_grad()
    def dense(self, images: Tensor) -> DenseFeatures:
        """Feature maps of (B, 3, H, W) images at several strides, without gradient. H and W are multiples of 32.

        A ViT gives one map, of its last block's patch tokens; as the dense map they have passed ln_post.
        """
        height, width = images.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE:
            raise UserError(
                f"images are {width}x{height}: dense features need sides that are multiples of {MULTIPLE}",
                hint="pad them on the right and at the bottom with zeros, after normalising",
            )
        visual = self.model.visual
        if self.kind == "convnext":
            return convnext_features(visual, images.to(self.dtype))
        images = fit_to_patches(images, self.patch_size)
        grid = (images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size)
        tokens = self.image_blocks(self.embed_image(images)).tokens[:, 1:]  # (B, h * w, V)
        last, dense = (x.transpose(1, 2).unflatten(2, grid).contiguous() for x in (tokens, visual.ln_post(tokens)))
        (stride,) = self.pyramid_channels
        return DenseFeatures({stride: last}, dense)

    def project_dense(self, x: Tensor) -> Tensor:
        """Vectors of the dense map, or means of such, (..., dense_dim) into the joint space (..., C); not normalised.

        For a ConvNeXt the mean of the whole map gives CLIP's own image feature.
        """
        x = x.to(self.dtype)
        return project_convnext(self.model.visual, x) if self.kind == "convnext" else self.project(x, ln_post=False)

    @property
    def logit_scale(self) -> float:
        """The factor of CLIP's own cosine logits, at most 100."""
        return min(float(self.model.logit_scale.exp()), 100.0)

    # Text tower

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """CLIP's BPE ids, (n, context length) int64, zero-padded. Raises UserError on text that does not fit."""
        ids: Tensor = import_open_clip().tokenize(list(texts), self.context_length + 1)  # longer ones are cut to that
        for text, last in zip(texts, ids[:, -1].tolist(), strict=True):
            if last:
                raise UserError(
                    f"a prompt has too many tokens, the text tower takes {self.context_length}: {text!r}",
                    hint="shorten the class name or the template",
                )
        return ids[:, :-1].contiguous()

    def embed_text(
        self, ids: Tensor, *, embeddings: Tensor | None = None, min_length: int = 0, first: int = 0
    ) -> TextInput:
        """Make blocks' input from token ids (n, 77), or from given token embeddings (n, T, width) of these ids.

        Cropped after the longest end-of-text token, but not below `min_length` positions. The positions before `first`
        are left out: `embeddings` and the result's `end` count from there.
        """
        ids = ids.to(self.device)
        end = ids.argmax(dim=-1)
        length = min(max(int(end.max()) + 1, min_length), ids.shape[1])
        tokens = self.model.token_embedding(ids[:, first:length]) if embeddings is None else embeddings
        return TextInput(tokens[:, : length - first] + self.model.positional_embedding[first:length], end - first)

    def first_text_blocks(self, text: TextInput, n_blocks: int) -> TextInput:
        """Run the first `n_blocks` blocks unedited, for work that many edited passes share."""
        blocks = self.model.transformer.resblocks[:n_blocks]
        return TextInput(run_blocks(blocks, text.tokens, causal=True).tokens, text.end)

    def begin_text(
        self,
        tokens: Tensor,
        *,
        overwrite: Mapping[int, Tensor] | None = None,
        start: int = 1,
        earlier: KeysValues | None = None,
    ) -> KeysValues:
        """Keys and values of a beginning (n, T, width), embedded with positions, for sentences that continue it.

        `earlier` is what comes before it, contained in the result; see `run_blocks` for the others.
        """
        return run_blocks(
            self.model.transformer.resblocks,
            tokens,
            causal=True,
            overwrite=overwrite,
            start=start,
            earlier=earlier,
            keep_keys_values=True,
            last_row=0,
        ).keys_values

    def text_blocks(
        self,
        text: TextInput,
        *,
        edit: Edit | None = None,
        overwrite: Mapping[int, Tensor] | None = None,
        start: int = 1,
        earlier: KeysValues | None = None,
    ) -> Tensor:
        """Run embedded sentences through the text blocks from number `start` on: (n, C), not normalised.

        earlier: keys and values of `begin_text` where `text` is the continuation; see `run_blocks` for the others.
        """
        last = run_blocks(
            self.model.transformer.resblocks,
            text.tokens,
            causal=True,
            edit=edit,
            overwrite=overwrite,
            start=start,
            earlier=earlier,
            last_row=text.end,
        ).tokens
        return self.model.ln_final(last[:, 0]) @ self.model.text_projection  # type: ignore[no-any-return]

    def encode_text(self, ids: Tensor) -> Tensor:
        """CLIP's text feature of token ids (n, 77): (n, C), not normalised."""
        return self.text_blocks(self.embed_text(ids))
