"""Which blocks of the image tower a method looks at; they count from 1."""

from __future__ import annotations

from collections.abc import Iterable

from adbench.clip import Clip


def quarters(clip: Clip) -> list[int]:
    """The block at each quarter of the tower: 6, 12, 18 and 24 of 24; one may repeat in a tower of fewer than 4."""
    return [max(1, clip.n_layers * part // 4) for part in (1, 2, 3, 4)]


def check_blocks(clip: Clip, setting: str, blocks: Iterable[int]) -> None:
    """Raise ValueError where the tower lacks a block that a setting names."""
    for block in blocks:
        if not 1 <= block <= clip.n_layers:
            raise ValueError(f"{setting} names block {block}, outside 1 to {clip.n_layers} for this backbone")
