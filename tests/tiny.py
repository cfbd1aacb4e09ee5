"""A tiny CLIP with random weights and batches to feed it, for the tests of every layer."""

from __future__ import annotations

from dataclasses import replace

import torch

from adbench.data.sample import Batch

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 48, "layers": 4, "head_width": 16, "mlp_ratio": 2.0},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}


def make_tiny_clip(
    *, image_size: int | None = None, seed: int = 0, quick_gelu: bool = False, n_layers: int | None = None
):
    """A classic CLIP of a few thousand weights, reproducible from its seed; `n_layers` of both towers, or 4 and 3."""
    import open_clip

    from adbench.clip import Clip

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**_with_layers(n_layers), quick_gelu=quick_gelu)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.2)
    return Clip(model, name="tiny", source="random", quick_gelu=quick_gelu, image_size=image_size)


def _with_layers(n_layers):
    if n_layers is None:
        return TINY
    return TINY | {tower: TINY[tower] | {"layers": n_layers} for tower in ("vision_cfg", "text_cfg")}


def tiny_convnext_config(depths=(1, 1, 1, 1), dims=(16, 24, 32, 40), head="mlp"):
    """Configuration of a CLIP with a ConvNeXt tower of these depths and channels per stage."""
    from adbench.clip.dense import register_convnext

    name = register_convnext(depths, dims)
    vision = {"timm_model_name": name, "timm_pool": "", "timm_proj": head, "timm_drop_path": 0.5, "image_size": 64}
    return {"embed_dim": 32, "vision_cfg": vision, "text_cfg": TINY["text_cfg"]}


def make_tiny_convnext(*, seed: int = 0, **settings):
    """A CLIP with a ConvNeXt image tower of a few thousand weights, reproducible from its seed."""
    import open_clip

    from adbench.clip import Clip
    from adbench.demo.toy_convnext import randomise

    model = open_clip.CLIP(**tiny_convnext_config(**settings))
    randomise(model, seed)
    return Clip(model, name="tiny_convnext", source="random", quick_gelu=False)


def make_batch(n=4, size=32, seed=3):
    """Random images of three classes, every second one anomalous with a rectangular mask."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    masks[labels == 1, 4:12, 8:20] = True
    names = [("metal_nut", "pipe-fryum", "metal_nut", "carpet")[i % 4] for i in range(n)]
    images = torch.randn(n, 3, size, size, generator=generator)
    return Batch(images, labels, names, [f"{i}.png" for i in range(n)], "made", masks)


def rows(batch, pick):
    """The part of a batch that a slice picks."""
    return replace(
        batch,
        images=batch.images[pick],
        labels=batch.labels[pick],
        class_names=batch.class_names[pick],
        paths=batch.paths[pick],
        masks=None if batch.masks is None else batch.masks[pick],
        targets=None if batch.targets is None else batch.targets[pick],
        annotated=None if batch.annotated is None else batch.annotated[pick],
    )
