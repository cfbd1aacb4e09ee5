"""What torchrun says of this process, from its environment: one of several that share a run, or the only one."""

from __future__ import annotations

import os


def processes() -> int:
    """The number of processes that torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def number() -> int:
    """The number of this process among them, from 0: the one that speaks and writes."""
    return int(os.environ.get("RANK", "0")) if processes() > 1 else 0
