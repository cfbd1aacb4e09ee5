"""A tiny PromptAD, bare and fitted to a few classes, for its tests."""

from __future__ import annotations

from functools import cache

import torch

from adbench.data.sample import Batch
from adbench.methods import build
from tiny import make_tiny_clip

CLASSES = ("metal_nut", "pipe-fryum", "carpet")


shared_clip = cache(make_tiny_clip)


def make_method(clip=None, seed=0, **settings):
    torch.manual_seed(seed)
    return build("promptad", clip or shared_clip(), **{"epochs": 3, "resolution": 24, "lr": 0.05} | settings)


def support(n=2, seed=9, dataset="mvtec"):
    images = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return Batch(images, torch.zeros(n, dtype=torch.long), ["x"] * n, [f"{i}.png" for i in range(n)], dataset)


def fitted(**settings):
    method = make_method(**settings)
    for number, name in enumerate(CLASSES):
        method.adapt(name, support(seed=number))
    return method
