"""One loop over the residual blocks of a CLIP tower, edited from outside.

Every method changes what happens *between* CLIP's blocks. So the loop reads the parameters of open_clip's own blocks
and offers three openings: an edit of the tokens before a block, a second stream with local (V-V) attention from a
given block on, and a choice of what to collect. Blocks are numbered from 1, as in the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Edit = Callable[[int, Tensor], Tensor]


@dataclass(slots=True)
class Streams:
    """What `run_blocks` returns; every stream is (B, T, width), dictionaries are keyed by block number (from 1).

    tokens          the residual stream after the last block; (B, 1, width) when only one row was asked for
    local           the local (V-V) stream after the last block, None without one
    blocks          collected block outputs
    post_attention  collected streams after a block's attention residual and before its MLP
    local_blocks    collected local streams; before the local path begins, the ordinary one
    """

    tokens: Tensor
    local: Tensor | None = None
    blocks: dict[int, Tensor] = field(default_factory=dict)
    post_attention: dict[int, Tensor] = field(default_factory=dict)
    local_blocks: dict[int, Tensor] = field(default_factory=dict)


def _heads(x: Tensor, n_heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], n_heads, -1).transpose(1, 2)  # (B, heads, T, d)


def _attend(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, causal: bool) -> Tensor:
    """Exact softmax attention over (B, heads, T, d), merged back to (B, T, heads * d)."""
    if query.device.type == "cpu" and torch.is_grad_enabled() and (query.requires_grad or key.requires_grad):
        # The fused kernel's backward is slow on CPU (twice the time of this form); the values are equal to rounding.
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if causal:
            later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
            logits = logits.masked_fill(later, float("-inf"))
        elif mask is not None:
            logits = logits.masked_fill(~mask, float("-inf"))
        out = logits.softmax(dim=-1) @ value
    else:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
    merged: Tensor = out.transpose(1, 2).flatten(2)
    return merged


def _one_row_block(block: Any, x: Tensor, row: Tensor | int, causal: bool) -> Tensor:
    """Output of a block at one row per sequence, (B, 1, width): keys and values of all rows, the rest of one."""
    attention = block.attn
    h = block.ln_1(x)
    width = x.shape[-1]
    w_q, w_kv = attention.in_proj_weight.split((width, 2 * width))
    b_q, b_kv = attention.in_proj_bias.split((width, 2 * width))
    if isinstance(row, int):
        h_row, x_row, mask = h[:, row : row + 1], x[:, row : row + 1], None
    else:
        picked = torch.arange(len(x), device=x.device)
        h_row, x_row = h[picked, row].unsqueeze(1), x[picked, row].unsqueeze(1)
        seen = torch.arange(x.shape[1], device=x.device) <= row[:, None]
        mask = seen[:, None, None, :] if causal else None
    key, value = F.linear(h, w_kv, b_kv).chunk(2, dim=-1)
    heads = attention.num_heads
    query = F.linear(h_row, w_q, b_q)
    out = _attend(_heads(query, heads), _heads(key, heads), _heads(value, heads), mask=mask, causal=False)
    x_row = x_row + block.ls_1(attention.out_proj(out))
    out_row: Tensor = x_row + block.ls_2(block.mlp(block.ln_2(x_row)))
    return out_row


def run_blocks(
    blocks: Sequence[Any],
    tokens: Tensor,
    *,
    causal: bool = False,
    edit: Edit | None = None,
    start: int = 1,
    local_from: int | None = None,
    collect: Collection[int] = (),
    collect_post_attention: Collection[int] = (),
    collect_local: Collection[int] = (),
    last_row: Tensor | int | None = None,
) -> Streams:
    """Run `tokens` (B, T, width) through open_clip residual attention blocks.

    edit        called as `edit(block, tokens)` before each block; may change the number of tokens
    start       number of the first block to run: `tokens` is then the output of block start - 1
    local_from  first block with a local path: a second stream, starting as a copy of the tokens entering that block,
                adds the block's attention with the value in place of query and key (softmax(v v^T / sqrt(d)) v, same
                output projection), without MLP; it reads the ordinary stream and never feeds back
    last_row    one row index, or one per sequence (B,): compute the last block at that row only (exact, cheaper)
    """
    streams = Streams(tokens)
    x, local = tokens, None
    final = len(blocks)
    for number, block in enumerate(blocks, start=1):
        if number < start:
            continue
        if edit is not None:
            x = edit(number, x)
        if last_row is not None and number == final and local_from is None and number not in collect:
            x = _one_row_block(block, x, last_row, causal)
            break
        attention = block.attn
        heads = attention.num_heads
        qkv = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = (_heads(part, heads) for part in qkv.chunk(3, dim=-1))
        if local_from is not None and number >= local_from:
            added = attention.out_proj(_attend(value, value, value, mask=None, causal=causal))
            local = (x if local is None else local) + block.ls_1(added)
        x = x + block.ls_1(attention.out_proj(_attend(query, key, value, mask=None, causal=causal)))
        if number in collect_post_attention:
            streams.post_attention[number] = x
        x = x + block.ls_2(block.mlp(block.ln_2(x)))
        if number in collect:
            streams.blocks[number] = x
        if number in collect_local:
            streams.local_blocks[number] = x if local is None else local
    if last_row is not None and x.shape[1] != 1:
        rows = torch.full((len(x),), last_row, device=x.device) if isinstance(last_row, int) else last_row
        x = x[torch.arange(len(x), device=x.device), rows].unsqueeze(1)
    streams.tokens, streams.local = x, local
    return streams
