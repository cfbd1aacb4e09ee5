"""A method that is put to work comes back as it was, however the work ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from adbench.methods.base import Method


@contextlib.contextmanager
def borrowed(method: Method) -> Iterator[None]:
    """Inside, `method` may get other memories and another mode; afterwards, also of an error or Ctrl-C, it has its own.

    What has been learned stays.
    """
    memory_bank, modes = method.memory_bank, [(module, module.training) for module in method.modules()]
    try:
        yield
    finally:
        method.memory_bank = memory_bank
        for module, training in modes:
            module.training = training
