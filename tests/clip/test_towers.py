"""The wrapper's loop equals open_clip's own forward passes, and its openings do what they say."""

from __future__ import annotations

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from adbench.clip import TextInput
from adbench.errors import UserError
from tiny import make_tiny_clip


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_image_feature_equals_open_clip(images, quick_gelu):
    clip = make_tiny_clip(quick_gelu=quick_gelu)
    assert_close(clip.encode_image(images), clip.model.encode_image(images), atol=1e-5, rtol=1e-5)


def test_block_outputs_equal_open_clip(tiny_clip, images):
    streams = tiny_clip.image_blocks(tiny_clip.embed_image(images), collect=[1, 3, 4])
    theirs = tiny_clip.model.visual.forward_intermediates(images, output_fmt="NLC", intermediates_only=True)
    for number in (1, 3, 4):
        assert_close(streams.blocks[number][:, 1:], theirs["image_intermediates"][number - 1], atol=1e-5, rtol=1e-5)
    assert_close(streams.tokens, streams.blocks[4])


def test_cropped_text_feature_equals_open_clip_exactly_in_meaning(tiny_clip):
    ids = tiny_clip.tokenize(["a photo of a cat.", "hazelnut", "a low resolution photo of the flawless metal_nut."])
    assert_close(tiny_clip.encode_text(ids), tiny_clip.model.encode_text(ids), atol=1e-5, rtol=1e-5)
    assert tiny_clip.embed_text(ids).tokens.shape[1] == int(ids.argmax(-1).max()) + 1


def test_text_from_embeddings_equals_text_from_ids(tiny_clip):
    ids = tiny_clip.tokenize(["a photo of a cat.", "hazelnut"])
    given = tiny_clip.embed_text(ids, embeddings=tiny_clip.model.token_embedding(ids))
    assert_close(tiny_clip.text_blocks(given), tiny_clip.encode_text(ids))


def test_text_can_start_from_a_cached_block(tiny_clip):
    ids = tiny_clip.tokenize(["a photo of a cat."])
    text = tiny_clip.embed_text(ids)
    first = tiny_clip.model.transformer.resblocks[0]
    mask = torch.full((text.tokens.shape[1],) * 2, float("-inf")).triu(1)
    after_first = TextInput(first(text.tokens, attn_mask=mask), text.end)
    assert_close(tiny_clip.text_blocks(after_first, start=2), tiny_clip.text_blocks(text), atol=1e-5, rtol=1e-5)


def test_sentences_continue_a_beginning_that_was_run_once(tiny_clip):
    ids = tiny_clip.tokenize(["a photo of a cat.", "a photo of a damaged hazelnut."])
    tokens = tiny_clip.model.token_embedding(ids)
    beginning = tiny_clip.begin_text(tiny_clip.embed_text(ids[:1, :4], min_length=4).tokens)
    assert beginning[1][0].shape == (1, 2, 4, 16)
    behind = tiny_clip.embed_text(ids, embeddings=tokens[:, 4:], first=4)
    assert_close(tiny_clip.embed_text(ids, first=4).tokens, behind.tokens)
    assert_close(tiny_clip.text_blocks(behind, earlier=beginning), tiny_clip.encode_text(ids), atol=1e-5, rtol=1e-5)
    two_parts = tiny_clip.begin_text(
        tiny_clip.embed_text(ids[:1, :4], first=2, min_length=4).tokens,
        earlier=tiny_clip.begin_text(tiny_clip.embed_text(ids[:1, :2], min_length=2).tokens),
    )
    for block, (keys, values) in beginning.items():
        assert_close(two_parts[block], (keys, values), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("blocks", [[2], [2, 3], [1, 3], [1, 2, 3]])
def test_overwritten_rows_are_those_of_an_edit_and_are_not_computed_before(tiny_clip, blocks):
    text = tiny_clip.embed_text(tiny_clip.tokenize(["a photo of a cat.", "a photo of a damaged hazelnut."]))
    generator = torch.Generator().manual_seed(0)
    fresh = {block: torch.randn(2, 3, 32, generator=generator).requires_grad_() for block in blocks}

    def edit(block, tokens):
        return torch.cat([fresh[block], tokens[:, 3:]], dim=1) if block in fresh else tokens

    text = TextInput(text.tokens.requires_grad_(), text.end)
    inputs = [text.tokens, *fresh.values()]
    expected = tiny_clip.text_blocks(text, edit=edit)
    actual = tiny_clip.text_blocks(text, overwrite=fresh)
    assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(actual.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    sizes = []
    for block in tiny_clip.model.transformer.resblocks:
        hook = block.mlp.register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].shape[1]))
        tiny_clip.text_blocks(text, overwrite=fresh)
        hook.remove()
    n = text.tokens.shape[1]
    assert sizes == [n - 3 * (2 in fresh), n - 3 * (3 in fresh), 1]


def test_gradient_path_equals_fused_path(tiny_clip, images):
    tokens = tiny_clip.embed_image(images)
    with torch.no_grad():
        fused = tiny_clip.image_blocks(tokens, local_from=2)
    plain = tiny_clip.image_blocks(tokens.requires_grad_(), local_from=2)
    assert_close(plain.tokens, fused.tokens, atol=1e-5, rtol=1e-5)
    assert_close(plain.local, fused.local, atol=1e-5, rtol=1e-5)


def test_one_row_of_the_last_block_has_the_same_value_and_gradient(tiny_clip, images):
    tokens = tiny_clip.embed_image(images).requires_grad_()
    whole = tiny_clip.image_blocks(tokens).tokens[:, :1]
    row = tiny_clip.image_blocks(tokens, class_token_only=True).tokens
    assert_close(row, whole, atol=1e-5, rtol=1e-5)
    (expected,) = torch.autograd.grad(whole.square().sum(), tokens)
    (actual,) = torch.autograd.grad(row.square().sum(), tokens)
    assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("collected", [{}, {"collect": [4]}, {"collect_post_attention": [4]}])
def test_one_row_leaves_local_streams_and_collected_ones_whole(tiny_clip, images, collected):
    tokens = tiny_clip.embed_image(images)
    whole = tiny_clip.image_blocks(tokens, local_from=3, collect_local=[1, 4], **collected)
    row = tiny_clip.image_blocks(tokens, local_from=3, collect_local=[1, 4], class_token_only=True, **collected)
    assert_close(row.tokens, whole.tokens[:, :1], atol=1e-5, rtol=1e-5)
    for name in ("local_blocks", "blocks", "post_attention"):
        assert_close(getattr(row, name), getattr(whole, name), atol=1e-5, rtol=1e-5)


def test_one_row_leaves_ordinary_streams_collected_as_local_whole(tiny_clip, images):
    tokens = tiny_clip.embed_image(images)
    row = tiny_clip.image_blocks(tokens, collect_local=[4], class_token_only=True)
    assert row.tokens.shape == (3, 1, 48)
    assert_close(row.local_blocks[4], tiny_clip.image_blocks(tokens).tokens)


def test_edit_sees_every_block_and_changes_the_result(tiny_clip, images):
    seen = []

    def edit(block, tokens):
        seen.append((block, tokens.shape[1]))
        return torch.cat([tokens, torch.ones_like(tokens[:, :2])], dim=1) if block == 2 else tokens

    edited = tiny_clip.image_blocks(tiny_clip.embed_image(images), edit=edit)
    assert seen == [(1, 17), (2, 17), (3, 19), (4, 19)]
    assert edited.tokens.shape[1] == 19
    assert not torch.allclose(edited.tokens[:, 0], tiny_clip.image_blocks(tiny_clip.embed_image(images)).tokens[:, 0])


def test_local_path_adds_value_value_attention_without_feeding_back(tiny_clip, images):
    tokens = tiny_clip.embed_image(images)
    plain = tiny_clip.image_blocks(tokens, collect=[1, 2, 3])
    streams = tiny_clip.image_blocks(tokens, local_from=3, collect_local=[2, 3, 4], collect_post_attention=[3])
    assert_close(streams.tokens, plain.tokens)
    assert_close(streams.local_blocks[2], plain.blocks[2])

    block = tiny_clip.model.visual.transformer.resblocks[2]
    h = block.ln_1(plain.blocks[2])
    value = F.linear(h, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, -1)[2]
    heads = value.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2)
    weights = (heads @ heads.transpose(-1, -2) / heads.shape[-1] ** 0.5).softmax(-1)
    added = block.attn.out_proj((weights @ heads).transpose(1, 2).flatten(2))
    assert_close(streams.local_blocks[3], plain.blocks[2] + added, atol=1e-5, rtol=1e-5)
    post = streams.post_attention[3]
    assert_close(post + block.mlp(block.ln_2(post)), plain.blocks[3], atol=1e-5, rtol=1e-5)


def test_positions_are_resized_without_antialias_and_keep_the_class_position(tiny_clip):
    native = tiny_clip.model.visual.positional_embedding
    assert tiny_clip.positions((4, 4)) is native
    resized = tiny_clip.positions((7, 5))
    assert resized.shape == (36, 48)
    assert_close(resized[0], native[0])
    table = native[1:].reshape(4, 4, 48).permute(2, 0, 1)[None]
    expected = F.interpolate(table, (7, 5), mode="bicubic", align_corners=False)[0].permute(1, 2, 0).reshape(35, 48)
    assert_close(resized[1:], expected)


def test_image_size_may_leave_a_remainder():
    clip = make_tiny_clip(image_size=45)
    assert clip.grid == 5
    assert clip.encode_image(torch.zeros(1, 3, 45, 45)).shape == (1, 32)


def test_float64_runs_throughout(tiny_clip, images):
    clip = tiny_clip.double()
    ids = clip.tokenize(["a cat"])
    assert clip.encode_image(images.double()).dtype == torch.float64
    assert clip.encode_text(ids).dtype == torch.float64


def test_nothing_frozen_collects_gradients(tiny_clip, images):
    tokens = tiny_clip.embed_image(images).requires_grad_()
    tiny_clip.image_blocks(tokens).tokens.sum().backward()
    assert tokens.grad is not None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in tiny_clip.parameters())
    assert not tiny_clip.train().model.training


def test_a_prompt_may_fill_the_text_tower(tiny_clip):
    ids = tiny_clip.tokenize(["a " * 75, "a"])
    assert ids.shape == (2, 77)
    assert ids.dtype == torch.long
    assert [row.argmax().item() for row in ids] == [76, 2]
    assert ids[1, 3:].count_nonzero() == 0


def test_the_words_are_read_once(tiny_clip, monkeypatch):
    monkeypatch.setattr(open_clip.tokenizer.SimpleTokenizer, "__init__", None)
    assert tiny_clip.tokenize(["a cat"]).shape == (1, 77)


def test_too_long_prompt_is_an_error(tiny_clip):
    with pytest.raises(UserError, match="the text tower takes 77"):
        tiny_clip.tokenize(["a", "a " * 76])
    with pytest.raises(UserError, match="the text tower takes 77"):
        tiny_clip.tokenize(["scratch " * 80])
