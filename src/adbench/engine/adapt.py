"""From support sets to the memories that a method scores with: support images are encoded once for all sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from adbench.data.loading import load_batch
from adbench.data.sample import Batch, Sample
from adbench.data.support import SupportSet, check_leaks
from adbench.engine.borrowed import borrowed
from adbench.engine.device import autocast, check_held
from adbench.engine.rng import seed_streams
from adbench.engine.settings import EvalData, EvalSettings
from adbench.engine.weights import backbone
from adbench.errors import UserError
from adbench.methods.base import Features, Method

MemoryBank = dict[str, Any]


def check_support(method: Method, data: EvalData) -> None:
    """Raise UserError where the support of `data` is not what `method` takes, or holds an image to be scored."""
    shots = [k for k, _ in data.supports if k] if data.supports else []
    if shots and not method.adapts:
        raise UserError(
            f"method {method.name} takes no support images", where=f"support.k={shots[0]}", hint="leave out support.k"
        )
    if shots and method.fits and method.memory_bank:
        raise UserError(
            f"the checkpoint has been fitted to support images of its own: {', '.join(sorted(method.memory_bank))}",
            where=f"support.k={shots[0]}",
            hint="leave out support.k to evaluate it, or leave out checkpoint to fit anew",
        )
    strangers = [name for name in data.classes if not method.remembers(name)]
    if not shots and strangers and method.fits and method.memory_bank:
        raise UserError(
            f"the checkpoint has not been fitted to {', '.join(strangers)} of {data.name}",
            where=f"fitted to: {', '.join(sorted(method.memory_bank))}",
            hint="name only these in data.classes, or leave out checkpoint and give support.k to fit anew",
        )
    remembered = not shots and not strangers
    if method.needs_support and not remembered and (not data.supports or len(shots) < len(data.supports)):
        raise UserError(
            f"method {method.name} compares with normal images of each class, and there are none",
            where=f"{data.name}, K = 0",
            hint="give support.k=2 (or 1,2,4 for several results)",
        )
    check_leaks([support_set for sets in data.supports.values() for support_set in sets.values()], data.samples)


def build_memory_banks(
    method: Method,
    sets: Sequence[SupportSet | None],
    settings: EvalSettings,
    *,
    device: torch.device,
) -> list[MemoryBank]:
    """What the method remembers of each support set of *one* class; None (no support) gives an empty memory.

    The images of all sets are encoded together, once. Random streams are seeded before every set.
    """
    check_held(backbone(method).get("dtype", "float32"), "off", learns=method.fits)  # nothing scales a loss here
    unique = {sample.path: sample for support_set in sets if support_set is not None for sample in support_set.samples}
    places = {path: row for row, path in enumerate(unique)}
    union = _encode(method, list(unique.values()), settings, device) if unique else None
    memory_banks = []
    with borrowed(method):
        for support_set in sets:
            method.memory_bank = {}
            if support_set is not None:
                if union is not None and support_set.samples:
                    rows = [places[sample.path] for sample in support_set.samples]
                    batch = union[0].rows(rows)
                    features: Features = {name: values[rows] for name, values in union[1].items()}
                else:  # ready-made tensors
                    batch = support_set.load(method.transform).to(device)
                    features = _features(method, batch, settings, device)
                seed_streams(settings.seed, method)
                with autocast(settings.amp, device):
                    method.adapt(support_set.class_name, batch, features)
            memory_banks.append(method.memory_bank)
    return memory_banks


def joined(memory_banks: Iterable[Mapping[str, Any]]) -> MemoryBank:
    """Memories of several classes as one."""
    return {name: value for memory_bank in memory_banks for name, value in memory_bank.items()}


def _encode(
    method: Method, samples: Sequence[Sample], settings: EvalSettings, device: torch.device
) -> tuple[Batch, Features]:
    whole, size = load_batch(samples, method.transform, with_masks=False).to(device), settings.images_at_a_time
    parts = [whole.rows(slice(start, start + size)) for start in range(0, len(whole), size)]
    encoded = [_features(method, part, settings, device) for part in parts]
    return whole, {name: torch.cat([features[name] for features in encoded]) for name in encoded[0]}


def _features(method: Method, batch: Batch, settings: EvalSettings, device: torch.device) -> Features:
    with torch.no_grad(), autocast(settings.amp, device):
        return method.encode_support(batch)
