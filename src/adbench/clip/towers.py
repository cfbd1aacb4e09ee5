"""One loop over the residual blocks of a CLIP tower, edited from outside.

Every method changes what happens *between* CLIP's blocks. So the loop reads the parameters of open_clip's own blocks
and offers four openings: an edit of the tokens before a block, a beginning that was run before, a second stream with
local (V-V) attention from a given block on, and a choice of what to collect. Blocks are numbered from 1, as in the
papers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Edit = Callable[[int, Tensor], Tensor]
# Keys and values (n, heads, T, d) by block number; each of the n copies serves equally many sequences, neighbours.
KeysValues = Mapping[int, tuple[Tensor, Tensor]]


@dataclass(slots=True)
class Streams:
    """What `run_blocks` returns; every stream is (B, T, width), dictionaries are keyed by block number (from 1).

    tokens          the residual stream after the last block; (B, 1, width) when only one row was asked for
    local           the local (V-V) stream after the last block, None without one
    blocks          collected block outputs
    post_attention  collected streams after a block's attention residual and before its MLP
    local_blocks    collected local streams; before the local path begins, the ordinary one
    keys_values     keys and values of each block, of earlier positions and these: kept on request
    """

    tokens: Tensor
    local: Tensor | None = None
    blocks: dict[int, Tensor] = field(default_factory=dict)
    post_attention: dict[int, Tensor] = field(default_factory=dict)
    local_blocks: dict[int, Tensor] = field(default_factory=dict)
    keys_values: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


def _heads(x: Tensor, n_heads: int) -> Tensor:
    heads: Tensor = x.unflatten(-1, (n_heads, -1)).transpose(1, 2)  # (B, heads, T, d)
    return heads


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


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a stream (B, T, width) that a block's output is wanted at: all, those from `first` on, or one each.

    one  a row index, or one per sequence (B,); picked as (B, 1, width)
    """

    first: int = 0
    one: Tensor | int | None = None

    @property
    def all(self) -> bool:
        return self.one is None and self.first == 0

    def pick(self, x: Tensor) -> Tensor:
        if self.one is None:
            return x[:, self.first :]
        if isinstance(self.one, int):
            return x[:, self.one : self.one + 1]
        return x[torch.arange(x.shape[0], device=x.device), self.one].unsqueeze(1)

    def seen(self, x: Tensor, n_earlier: int) -> Tensor | None:
        """Which positions each picked row may look at under causal attention, (B or 1, 1, rows, n_earlier + T).

        None where PyTorch's own causal mask says the same.
        """
        if self.all and n_earlier == 0:
            return None
        position = torch.arange(x.shape[1], device=x.device)
        if self.one is None:
            rows = position[None, self.first :]
        else:
            rows = torch.as_tensor(self.one, device=x.device).reshape(-1, 1)
        seen = position <= rows.unsqueeze(-1)  # (B or 1, rows, T)
        return F.pad(seen, (n_earlier, 0), value=True).unsqueeze(1)


def _project(attention: Any, h: Tensor, rows: _Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of the rows wanted, keys and values of all rows: (B, heads, rows, d) and twice (B, heads, T, d)."""
    if rows.all:
        parts = F.linear(h, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    else:
        sizes = (h.shape[-1], 2 * h.shape[-1])
        w_query, w_rest = attention.in_proj_weight.split(sizes)
        b_query, b_rest = attention.in_proj_bias.split(sizes)
        key, value = F.linear(h, w_rest, b_rest).chunk(2, dim=-1)
        parts = (F.linear(rows.pick(h), w_query, b_query), key, value)
    query, key, value = (_heads(part, attention.num_heads) for part in parts)
    return query, key, value


def _after(earlier: tuple[Tensor, Tensor], key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values with those of earlier positions before them, each copy repeated for the sequences it serves."""
    times = key.shape[0] // earlier[0].shape[0]
    if len(earlier[0]) == 1:
        old_key, old_value = (part.expand(times, -1, -1, -1) for part in earlier)
    else:
        old_key, old_value = (part.repeat_interleave(times, dim=0) for part in earlier)
    return torch.cat([old_key, key], dim=2), torch.cat([old_value, value], dim=2)


def after_mlp(block: Any, x: Tensor) -> Tensor:
    """Tokens (..., width) after a block's MLP and its residual; the MLP may be held in another precision than they."""
    result: Tensor = x + block.ls_2(block.mlp(block.ln_2(x).to(block.mlp.c_fc.weight.dtype)))
    return result


def run_block(block: Any, x: Tensor) -> Tensor:
    """Tokens (B, T, width) after a block whose rows all see each other: what `run_blocks` does if no more is asked."""
    attention = block.attn
    query, key, value = _project(attention, block.ln_1(x).to(attention.in_proj_weight.dtype), _Rows())
    attended = _attend(query, key, value, mask=None, causal=False)
    return after_mlp(block, x + block.ls_1(attention.out_proj(attended)))


def run_blocks(
    blocks: Sequence[Any],
    tokens: Tensor,
    *,
    causal: bool = False,
    edit: Edit | None = None,
    overwrite: Mapping[int, Tensor] | None = None,
    start: int = 1,
    earlier: KeysValues | None = None,
    keep_keys_values: bool = False,
    local_from: int | None = None,
    collect: Collection[int] = (),
    collect_post_attention: Collection[int] = (),
    collect_local: Collection[int] = (),
    last_row: Tensor | int | None = None,
) -> Streams:
    """Run `tokens` (B, T, width) through open_clip residual attention blocks.

    What is added to the tokens may be computed in a lower precision than theirs (see `clip.precision`). The function is
    long for what it reads: every opening stands where it acts in the arithmetic of a block, which is told once.

    edit        called as `edit(block, tokens)` before each block; may change the number of tokens
    overwrite   by block number, tokens (B or 1, n, width) that replace the first n rows before that block; what the
                block before would compute at these rows is left out (so it cannot be collected)
    start       number of the first block to run: `tokens` is then the output of block start - 1
    earlier     what rows see besides `tokens`: the keys and values kept of a run over the positions before them. With
                causal attention a beginning that many sequences share is run once. Not for a local path
    local_from  first block with a local path: a second stream, starting as a copy of the tokens entering that block,
                adds the block's attention with the value in place of query and key (softmax(v v^T / sqrt(d)) v, same
                output projection), without MLP; it reads the ordinary stream and never feeds back
    last_row    one row index, or one per sequence (B,): compute the last block at that row only (exact, cheaper)
    """
    streams = Streams(tokens)
    x, local, n_dropped = tokens, None, 0
    final, overwrite = len(blocks), overwrite or {}
    has_local = local_from is not None and local_from <= final
    # The last block is run at one row where nobody wants the others.
    one_row = last_row is not None and final not in {*collect, *collect_post_attention}
    one_row = one_row and (has_local or final not in collect_local) and start <= final
    for number, block in enumerate(list(blocks)[start - 1 :], start):
        if edit is not None:
            x = edit(number, x)
        if number in overwrite:
            fresh = overwrite[number].to(x.dtype).expand(x.shape[0], -1, -1)
            x = torch.cat([fresh, x[:, fresh.shape[1] - n_dropped :]], dim=1)
        n_dropped = overwrite[number + 1].shape[1] if number + 1 in overwrite and number < final else 0
        rows = _Rows(n_dropped, last_row if one_row and number == final else None)
        is_local = local_from is not None and number >= local_from
        asked = causal or is_local or number in collect_post_attention
        if "compiled" in block.__dict__ and rows.all and not asked and not torch.is_grad_enabled():
            x = block.__dict__["compiled"](block, x)
        else:
            attention = block.attn
            query, key, value = _project(attention, block.ln_1(x).to(attention.in_proj_weight.dtype), rows)
            if is_local:
                added = attention.out_proj(_attend(value, value, value, mask=None, causal=causal))
                local = (x if local is None else local) + block.ls_1(added)
            mask = rows.seen(x, 0 if earlier is None else earlier[number][0].shape[2]) if causal else None
            if earlier is not None:
                key, value = _after(earlier[number], key, value)
            if keep_keys_values:
                streams.keys_values[number] = (key, value)
            attended = _attend(query, key, value, mask=mask, causal=causal and mask is None)
            x = rows.pick(x) + block.ls_1(attention.out_proj(attended))
            if number in collect_post_attention:
                streams.post_attention[number] = x
            x = after_mlp(block, x)
        if number in collect:
            streams.blocks[number] = x
        if number in collect_local:
            streams.local_blocks[number] = x if local is None else local
    streams.tokens, streams.local = x if one_row else _Rows(one=last_row).pick(x), local
    return streams
