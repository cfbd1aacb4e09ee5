"""Windows of patches: which there are, their features, and how their scores come back to the patches."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip

CPU_TOKENS = 4096


@cache
def window_masks(side: int, scale: int) -> Tensor:
    """Patch numbers (scale^2, windows) of all scale x scale windows with stride 1; patches and windows row-major."""
    patches = torch.arange(side * side).reshape(1, 1, side, side).float()
    return F.unfold(patches, scale)[0].long()


def window_features(clip: Clip, tokens: Tensor, scale: int, max_tokens: int) -> Tensor:
    """Features of all windows in the joint space, not normalised: (B, 1 + G * G, V) -> (B, windows, C).

    tokens      embedded image *before* ln_pre. A window is the class token and its own patches, which keep their
                positions; it runs through the whole tower alone
    max_tokens  the windows of all images share calls of at most so many tokens
    """
    masks = window_masks(clip.grid, scale).to(tokens.device)
    n_windows = masks.shape[1]
    places = torch.cat([masks.new_zeros(n_windows, 1), masks.T + 1], dim=1)  # (windows, 1 + scale^2)

    def project(sequences: Tensor) -> Tensor:
        return clip.project(clip.image_blocks(sequences, class_token_only=True).tokens[:, 0])

    if torch.compiler.is_exporting():  # a graph has no loop over a number of images that is not known
        of_all: Tensor = project(tokens[:, places].flatten(0, 1)).unflatten(0, (-1, n_windows))
        return of_all
    # a CPU's cache holds what these tokens become; fewer take longer, and so do more
    max_tokens = min(max_tokens, CPU_TOKENS) if tokens.device.type == "cpu" else max_tokens
    at_once = max(1, max_tokens // places.shape[1])
    features = []
    for start in range(0, len(tokens) * n_windows, at_once):
        numbers = torch.arange(start, min(start + at_once, len(tokens) * n_windows), device=tokens.device)
        image, window = numbers // n_windows, numbers % n_windows
        features.append(project(tokens[image[:, None], places[window]]))  # of (at once, 1 + scale^2, V)
    return torch.cat(features).reshape(len(tokens), n_windows, -1)


def harmonic_to_patches(scores: Tensor, side: int, scale: int) -> Tensor:
    """Harmonic mean, for each patch, of the scores (B, windows) of the windows that contain it: (B, side, side).

    A score of 0 gives 0, as does an infinite result.
    """
    n = side - scale + 1
    inverse = scores.reciprocal().reshape(-1, n, n)
    return _finite(_at_patches(torch.ones_like(inverse[:1]), scale) / _at_patches(inverse, scale))


def _at_patches(windows: Tensor, scale: int) -> Tensor:
    """Sum, for each patch, of the values (B, n, n) of the windows that contain it: (B, side, side)."""
    places = [(row, column) for row in range(scale) for column in range(scale)]
    last = scale - 1
    return sum(F.pad(windows, (column, last - column, row, last - row)) for row, column in places)  # type: ignore[return-value]


def harmonic_mean(maps: Tensor) -> Tensor:
    """Harmonic mean over the first axis; 0 where a value is 0."""
    return _finite(len(maps) / maps.reciprocal().sum(dim=0))


def _finite(values: Tensor) -> Tensor:
    return values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
