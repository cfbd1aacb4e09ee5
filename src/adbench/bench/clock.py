"""Where the time of an evaluation goes: data, image tower, text tower, heads, metrics."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from adbench.engine.accumulators import ClassAccumulator
from adbench.engine.behind import Behind
from adbench.methods.base import Method

PARTS = ("data", "tower", "text", "heads", "metrics")


class PartClock:
    """Seconds by part, of one thread. A part that begins within another stops the other's time until it ends.

    What is in no part (loading, waiting for it, the loop itself) counts as data. A GPU is waited for at every change.
    Where `now` is `time.thread_time`, parts in other threads count too; else only what the thread waits for them.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._elsewhere: dict[int, tuple[str, float]] = {}  # part and beginning, by thread
        self._now, self._parts, self._thread = now, ["data"], threading.get_ident()
        self._since = now()

    def begin(self, part: str) -> None:
        """From now on the time is this part's."""
        if threading.get_ident() == self._thread:
            self._count()
            self._parts.append(part)
        elif self._now is time.thread_time:
            self._elsewhere[threading.get_ident()] = part, self._now()

    def end(self) -> None:
        """From now on the time is that of the part in which this one began."""
        if threading.get_ident() == self._thread:
            self._count()
            self._parts.pop()
        elif self._now is time.thread_time:
            part, begin = self._elsewhere.pop(threading.get_ident())
            self.seconds[part] += self._now() - begin

    def shares(self) -> dict[str, float]:
        """Fractions of the time until now, by part."""
        self._count()
        total = sum(self.seconds.values())
        return {part: seconds / total for part, seconds in self.seconds.items()}

    def _count(self) -> None:
        now = self._now()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now


def clock_for(device: torch.device) -> tuple[str, Callable[[], float]]:
    """What a second is, and a clock of them: the processor's on one thread of a CPU, so that other work counts less."""
    if device.type == "cuda":

        def now() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return "wall", now
    return ("processor", time.process_time) if torch.get_num_threads() == 1 else ("wall", time.perf_counter)


@contextlib.contextmanager
def watching(method: Method, clock: PartClock) -> Iterator[None]:
    """Let the clock run by parts while a method is evaluated."""
    with contextlib.ExitStack() as stack:
        for tower, part in _blocks(method.clip.model):
            for first, last in tower:
                stack.callback(first.register_forward_pre_hook(lambda *_, part=part: clock.begin(part)).remove)
                stack.callback(last.register_forward_hook(lambda *_: clock.end(), always_call=True).remove)
        for owner, names, part in (
            (method, ("encode", "encode_support", "adapt", "relate", "score"), "heads"),
            (ClassAccumulator, ("update", "result"), "metrics"),
            (Behind, ("give", "__exit__"), "metrics"),  # where the loop waits for them
        ):
            for name in names:
                stack.enter_context(_timed(owner, name, part, clock))
        yield


def _blocks(model: Any) -> Iterator[tuple[list[tuple[nn.Module, nn.Module]], str]]:
    """The modules with which a stretch of a tower begins and ends.

    The ViT's blocks are read by `clip.towers`, which calls their norms and MLPs; a ConvNeXt runs as a module.
    """
    visual = model.visual
    if hasattr(visual, "trunk"):
        yield [(part, part) for part in (visual.trunk.stem, *visual.trunk.stages)], "tower"
    else:
        blocks = [(block.ln_1, block.mlp) for block in visual.transformer.resblocks]
        yield [(visual.conv1, visual.conv1), *blocks], "tower"
    yield [(block.ln_1, block.mlp) for block in model.transformer.resblocks], "text"


@contextlib.contextmanager
def _timed(owner: Any, name: str, part: str, clock: PartClock) -> Iterator[None]:
    """Count the calls of a function of `owner`, a class or an object, for `part`."""
    original = getattr(owner, name)
    was_own = name in vars(owner)

    def timed(*args: Any, **kwargs: Any) -> Any:
        clock.begin(part)
        try:
            return original(*args, **kwargs)
        finally:
            clock.end()

    setattr(owner, name, timed)
    try:
        yield
    finally:
        if was_own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)
