"""A few images of each class to train on, drawn by a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from adbench.data.sample import Sample
from adbench.errors import UserError


def few_of_each_class(samples: Sequence[Sample], k: int, seed: int) -> list[Sample]:
    """K images of each class, normal and anomalous ones alike, in the order of `samples`.

    Those whose hash with the seed is smallest: an image's place depends on no other image, so a smaller K takes a part
    of a larger one. Raises UserError for a class with fewer.
    """
    by_class: dict[str, list[Sample]] = {}
    for sample in samples:
        by_class.setdefault(sample.class_name, []).append(sample)
    chosen: set[tuple[str, str]] = set()
    for name, of_class in by_class.items():
        if len(of_class) < k:
            hint = f"give {len(of_class)} or fewer, or leave the class out (data.classes)"
            raise UserError(f"class {name} has {len(of_class)} images", where=f"trainer.aux_per_class={k}", hint=hint)
        first = sorted(of_class, key=lambda sample: (_place(sample, seed), sample.key))[:k]
        chosen.update((name, sample.key) for sample in first)
    return [sample for sample in samples if (sample.class_name, sample.key) in chosen]


def _place(sample: Sample, seed: int) -> str:
    text = f"{seed}\n{sample.class_name}\n{sample.key}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
