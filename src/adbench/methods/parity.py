"""What the parity cases of all CLIP methods share: backbone and method as a case describes them.

Each method's own `parity` module has `run_case(case, tensors)`: it returns our tensors under the fixture's
`expected.../` keys and is given the case without the recorded ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.clip import Clip
from adbench.clip.loading import clip_from_state
from adbench.methods.base import Method
from adbench.methods.registry import build

Arrays = Mapping[str, np.ndarray]


def part(tensors: Arrays, prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix/`, by the rest of their names."""
    found = {key: value for key, value in tensors.items() if key.startswith(f"{prefix}/")}
    return {key.removeprefix(f"{prefix}/"): torch.from_numpy(np.array(value)) for key, value in found.items()}


def case_clip(case: Mapping[str, Any], tensors: Arrays) -> Clip:
    """The CLIP that a case describes, with the case's weights."""
    config = dict(case["backbone"])
    return clip_from_state(
        config,
        part(tensors, "backbone"),
        name=f"{case['method']} case",
        source=str(case.get("case", "parity")),
        quick_gelu=bool(config.pop("quick_gelu", False)),
        image_size=case["image_size"],
    )


def case_method(
    case: Mapping[str, Any],
    tensors: Arrays,
    hyperparameters: Mapping[str, Any],
    *,
    wrap: Callable[[dict[str, Tensor]], object] = lambda state: state,
) -> Method:
    """The case's method from the registry, its weights loaded from a file in the authors' format.

    wrap  puts the state dict into the structure that the authors save
    """
    method = build(case["method"], case_clip(case, tensors), **hyperparameters)
    state = part(tensors, "method")
    if state:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "official.pth"
            torch.save(wrap(state), file)
            method.load_official(file)
    return method
