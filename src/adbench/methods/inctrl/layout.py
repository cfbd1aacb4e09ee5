"""The regrouping of the authors' code, which mixes the images of a batch (section 3 of the specification).

The authors stack layers, or prompts, before the batch, and then make the batch axis lead by a plain reshape where a
transposition is meant. For one query at a time the two are the same. Otherwise a row's patches, prompts and prompt
features belong to other images of the batch. Weights that the authors trained have learned from such rows.
"""

from __future__ import annotations

from torch import Tensor


def regroup(features: Tensor) -> Tensor:
    """Patches (B, L, P, D) of queries or features (B, K, E) of prompts, each in its place -> as the authors have it."""
    return features.transpose(0, 1).reshape(features.shape)


def regroup_prompt_patches(patches: Tensor) -> Tensor:
    """Prompt patches (B, K, L, P, D), each in its place -> (B, L, K * P, D) as the authors' code has it."""
    n, shots, layers, positions, width = patches.shape
    return patches.permute(2, 1, 0, 3, 4).reshape(n, layers, shots * positions, width)
