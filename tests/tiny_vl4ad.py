"""A VL4AD of a few thousand weights, and road scenes of random pixels to feed it."""

from __future__ import annotations

import torch

from adbench.data.sample import Batch

WORDS = {
    "classes": ["road", "sky", "car", "truck"],
    "templates": ["a photo of a {}.", "There is a {} in the scene"],
    "concepts": {"many": {"road": ["road", "street"], "sky": ["sky"], "car": ["car", "cars", "van"], "truck": "truck"}},
    "superclasses": {"kinds": {"vehicle": ["car", "truck"], "rest": ["road", "sky"]}},
    "ood": {"near": ["caravan", ["dog", "cat"]]},
}
SIZES = {
    "num_queries": 8,
    "hidden_dim": 32,
    "num_heads": 4,
    "encoder_layers": 1,
    "encoder_ffn": 32,
    "decoder_layers": 2,
    "decoder_ffn": 32,
    "num_points": 48,
    "short_side": 64,
    "crop": [64, 96],
}


def make_vl4ad(clip, *, seed: int = 0, **changes):
    """VL4AD with random weights, reproducible from its seed; `changes` are hyperparameters."""
    from adbench.methods import build

    settings = {
        **SIZES,
        "vocabulary": WORDS,
        "concepts_train": "many",
        "concepts": "many",
        "merge": "none",
        "window": 0,
        **changes,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build("vl4ad", clip, **settings)


def make_scenes(n: int = 2, size: tuple[int, int] = (64, 96), seed: int = 5, sizes=None) -> Batch:
    """Random images with label maps of up to four classes in vertical stripes, the last columns to be ignored."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, *size, generator=generator)
    labels = torch.full((n, *size), 255)
    for index in range(n):
        for number in range(4 - index % 2):
            labels[index, :, number * 20 : number * 20 + 20] = number
            images[index, :, :, number * 20 : number * 20 + 20] += number
    names = ["road"] * n
    return Batch(
        images,
        torch.zeros(n, dtype=torch.long),
        names,
        [f"{i}.png" for i in range(n)],
        "made",
        targets=labels,
        sizes=sizes,
    )
