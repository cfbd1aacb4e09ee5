"""What methods share that keep a memory of normal images for each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from adbench.errors import UserError
from adbench.methods.base import Method


def rows_by_class(names: Sequence[str]) -> Iterator[tuple[str, Tensor | slice]]:
    """The classes of a batch, each with its rows: a slice of all where it is the only one."""
    classes = list(dict.fromkeys(names))
    for name in classes:
        rows = [row for row, other in enumerate(names) if other == name]
        yield name, slice(None) if len(classes) == 1 else torch.tensor(rows)


def not_adapted(method: Method, class_name: str) -> UserError:
    """The error for a class that is to be scored and has no memory."""
    known = ", ".join(sorted(method.memory_bank)) or "none"
    return UserError(
        f"method {method.name} has no normal images of class {class_name!r} to compare with",
        where=f"adapted to: {known}",
        hint="call adapt(class_name, support) first, or give support.k to `eval`",
    )
