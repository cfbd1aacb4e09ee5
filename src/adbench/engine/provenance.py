"""What a result was made with: versions, source revision, command, seed, device, data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adbench.data.sample import Sample


def describe_run(
    *, command: Sequence[str], seed: int, device: str, data: Mapping[str, Sequence[Sample]], **facts: Any
) -> dict[str, Any]:
    """Provenance for run.json and results.json. `facts`: JSON-able extras (method, backbone, weights, settings)."""
    raise NotImplementedError
