"""Our tensors of the VL4AD cases: the scoring formulas on given tensors, and the FC-CLIP head from images to a step."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from adbench.clip import Clip
from adbench.clip.dense import register_convnext
from adbench.clip.lean_import import import_open_clip
from adbench.clip.loading import clip_from_state
from adbench.data.sample import Batch
from adbench.methods.registry import build
from adbench.methods.vl4ad.head import pool_under_masks, with_void
from adbench.methods.vl4ad.method import VL4AD
from adbench.methods.vl4ad.official import to_official
from adbench.methods.vl4ad.scoring import ImageSizes, class_probability, class_sums, ensembled_probability, score_map
from adbench.methods.vl4ad.views import pad
from adbench.methods.vl4ad.vocabulary import Columns, concept_features, make_columns
from adbench.parity.from_case import Arrays, case_device, given, part, recorded

Tensors = dict[str, Tensor]
# The fixtures' name of each hyperparameter.
_SIZES = {
    "num_queries": "Q",
    "hidden_dim": "dim",
    "num_heads": "heads",
    "encoder_layers": "enc",
    "encoder_ffn": "effn",
    "decoder_layers": "dec",
    "decoder_ffn": "ffn",
    "alpha": "geometric_ensemble_alpha",
    "beta": "geometric_ensemble_beta",
}
_LOSS = ("num_points", "oversample_ratio", "importance_sample_ratio", "no_object_weight")
_WEIGHTS = ("class_weight", "mask_weight", "dice_weight")
_TEXT = {"context_length": 77, "vocab_size": 512, "width": 32, "heads": 1, "layers": 1}


def run_case(case: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute a case: without a backbone the scoring formulas, else the whole head."""
    if case["backbone"] is None:
        with torch.no_grad():
            return recorded(_scoring(case, _inputs(tensors)))
    method = _method(case, tensors)
    batch = _batch(_inputs(tensors))
    with torch.no_grad():
        values = _inference(method.eval(), batch)
    draws = [given(tensors[name]) for name in sorted(tensors) if name.startswith("input/rand_draw_")]
    return recorded(values | _training(method.train(), batch, case["hyperparameters"], draws))


def _inputs(tensors: Arrays) -> Tensors:
    return {name: given(value.numpy()) for name, value in part(tensors, "input").items()}


# Formulas


def _scoring(case: Mapping[str, Any], given: Tensors) -> Tensors:
    settings = case["hyperparameters"]
    n_id, counts = len(settings["id_concepts_per_class"]), settings["id_concepts_per_class"]
    extra, flags = settings["ood_concepts_per_class"], [bool(flag) for flag in settings["category_overlapping"]]
    features = concept_features(given["text_raw"])
    size = (case["image_size"][0], case["image_size"][1])
    sizes = ImageSizes(size, size, size)
    identity = given["mask_logits"].new_ones(len(given["mask_logits"]), 1)
    masks = [next(class_sums(embedding[None], identity[:1], sizes)) for embedding in given["mask_logits"]]
    values = {
        "text_features": features,
        "cosine": F.normalize(given["query_embedding"], dim=-1) @ features.T,
        "mask_probability": torch.cat(masks),
    }
    single = [(index,) for index in range(n_id)]
    merged = settings.get("superclasses") or single

    def columns(rows: Tensor, n_concepts: Sequence[int], groups: Sequence[Sequence[int]]) -> Columns:
        return make_columns(rows, n_concepts, n_id=n_id, seen=flags, groups=groups)

    id_rows = features[: sum(counts)]
    first = [sum(counts[:index]) for index in range(n_id)]
    variants = {
        "single_concept": columns(features[first], [1] * n_id, single),
        "max_concepts": columns(id_rows, counts, single),
        "merged": columns(id_rows, counts, merged),
        "ood": columns(features, [*counts, *extra], single),
        "merged_ood": columns(features, [*counts, *extra], merged),
    }
    for name, embedding in variants.items():
        logits = with_void(given["query_embedding"], embedding, given["void_embedding"], settings["logit_scale"])
        for suffix, use_void in (("", False), ("_void", True)):
            kept = class_probability(logits, embedding.n_kept, use_void=use_void)
            values |= _scored(f"{name}{suffix}", kept, given["mask_logits"], sizes)
    for name, of in (("geometric_ensemble", "ood"), ("merged_geometric_ensemble", "merged_ood")):
        values |= _ensembles(name, variants[of], given, settings, sizes)
    return values


def _ensembles(name: str, columns: Columns, given: Tensors, settings: Mapping[str, Any], sizes: ImageSizes) -> Tensors:
    logits = with_void(given["query_embedding"], columns, given["void_embedding"], settings["logit_scale"])
    frozen = columns.logits(given["clip_query_embedding"], settings["logit_scale_out_vocabulary"])
    values: Tensors = {}
    for suffix, use_void in (("", False), ("_void", True)):
        kept = ensembled_probability(
            logits,
            frozen,
            columns.n_kept,
            seen=columns.seen,
            alpha=settings["geometric_ensemble_alpha"],
            beta=settings["geometric_ensemble_beta"],
            use_void=use_void,
        )
        values |= _scored(f"{name}{suffix}", kept, given["mask_logits"], sizes)
    return values


def _scored(name: str, kept: Tensor, mask_logits: Tensor, sizes: ImageSizes) -> Tensors:
    sums = torch.cat(list(class_sums(mask_logits, kept, sizes)), dim=1)
    best = sums.topk(min(2, len(sums)), dim=0).values
    return {
        f"{name}/class_probability": kept,
        f"{name}/uncertainty": score_map(class_sums(mask_logits, kept, sizes), "max"),
        f"{name}/argmax": sums.argmax(dim=0),
        f"{name}/argmax_margin": best[0] - best[-1],
    }


# The head


def _clip(case: Mapping[str, Any], tensors: Arrays) -> Clip:
    """The case's image tower with an untrained text tower: the recorded text features stand in for the latter."""
    open_clip = import_open_clip()

    described, weights = case["backbone"], part(tensors, "backbone")
    name = register_convnext(tuple(described["trunk"]["depths"]), tuple(described["trunk"]["dims"]))
    head = "mlp" if any(key.startswith("visual.head.mlp.") for key in weights) else "linear"
    config = {
        "embed_dim": described["head"]["embed_dim"],
        "vision_cfg": {"timm_model_name": name, "timm_pool": "", "timm_proj": head},
        "text_cfg": _TEXT,
    }
    untrained = open_clip.CLIP(**config).state_dict()
    text = {key: value for key, value in untrained.items() if not key.startswith("visual.")}
    return clip_from_state(config, text | weights, name="vl4ad case", source=case["case"], quick_gelu=False).to(
        case_device()
    )


def _method(case: Mapping[str, Any], tensors: Arrays) -> VL4AD:
    settings = case["hyperparameters"]
    classes = [f"{number}: {', '.join(words)}" for number, words in enumerate(settings["concepts"])]
    words = {"case": dict(zip(classes, settings["concepts"], strict=True))}
    method = build(
        "vl4ad",
        _clip(case, tensors),
        vocabulary={"classes": classes, "templates": settings["templates"], "concepts": words},
        concepts_train="case",
        concepts="case",
        merge="none",
        **{ours: settings[theirs] for ours, theirs in _SIZES.items()},
        **{name: settings[name] for name in (*_LOSS, *_WEIGHTS)},
    )
    assert isinstance(method, VL4AD)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fcclip.pth"
        torch.save({"model": part(tensors, "method")}, file)
        method.load_official(file)
    columns = make_columns(
        concept_features(given(tensors["input/text_raw"])),
        [len(one) for one in settings["concepts"]],
        n_id=len(classes),
        seen=[bool(flag) for flag in settings["category_overlapping"]],
        groups=[(index,) for index in range(len(classes))],
    )
    method.use_columns(train=columns, test=columns, segment=columns)
    return method.to(method.clip.device)


def _batch(given: Tensors) -> Batch:
    images = given["images"]
    n, labels = len(images), torch.zeros(len(images), dtype=torch.long, device=images.device)
    return Batch(images, labels, ["road"] * n, list(map(str, range(n))), "parity", targets=given["labels"])


def _inference(method: VL4AD, batch: Batch) -> Tensors:
    features = method.encode(batch)
    stages = method.stages(features)
    columns, void = method.columns("test"), method.head.void_embedding.weight
    per_stage = [method.head.logits(method.embeddings(stages, i), columns) for i in range(len(stages.masks))]
    dense = features["dense"][:, 0]
    small = F.interpolate(stages.masks[-1], size=dense.shape[-2:], mode="bilinear", align_corners=False)
    frozen = method.clip_embeddings(stages.masks[-1], dense)
    stem = method.clip.model.visual.trunk.stem(pad(batch.images))
    values = {
        "features/stem_subsampled": stem[:, :, ::4, ::4],
        "features/res2_subsampled": features["stride4"][:, 0, :, ::4, ::4],
        **{f"features/res{i}": features[f"stride{1 << i}"][:, 0] for i in (3, 4, 5)},
        "features/clip_vis_dense": dense,
        "text_classifier": torch.cat([columns.concepts, F.normalize(void, dim=-1)]),
        "mask_features": stages.mask_features,
        **{f"multi_scale_{i}": one for i, one in enumerate(stages.multi_scale)},
        "class_logits_per_stage": torch.stack(per_stage),
        "mask_logits_first_stage": stages.masks[0],
        "mask_logits_last_stage": stages.masks[-1],
        "pooled_clip_feature": pool_under_masks(dense, small),
        "pooled_clip_embedding": frozen,
        "out_vocab_logits": with_void(frozen, columns, void, method.clip.logit_scale),
    }
    for name, out_vocab in (("ensemble", True), ("in_vocab", False)):
        method.settings = replace(method.settings, out_vocab=out_vocab)
        sums = torch.stack(method.class_maps(features, batch))
        values[f"sem_seg_{name}"] = sums[:, :, ::2, ::2]
        maps = method.score(features, batch).maps
        assert maps is not None
        values[f"uncertainty_{name}"] = torch.stack(list(maps))
    level = features["stride32"][:, 0]
    position = cast(Any, method.decoder.pixel_decoder).position_embedding(level.shape, level.device, level.dtype)
    position = position.expand(len(level), -1, -1, -1)
    return {f"eval/{key}": value for key, value in values.items()} | {"position_encoding_level0": position}


class _Replaying(TorchFunctionMode):
    """Uniform draws are the given ones, in order. Raises ValueError where another shape is asked for.

    Single numbers are really drawn: some releases of the library draw one per layer and then drop no layer.
    """

    def __init__(self, draws: Sequence[Tensor]) -> None:
        super().__init__()
        self.rest = iter(draws)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.rand or args == ([],):
            return func(*args, **(kwargs or {}))
        values = next(self.rest)
        if tuple(values.shape) != args:
            raise ValueError(f"a draw of {tuple(values.shape)} was recorded, {args} is asked for")
        return values


def _adam_constants(described: str) -> dict[str, Any]:
    """betas and eps from "AdamW betas (0.9, 0.999) eps 1e-8"; what is not said is torch's default."""
    betas, eps = re.search(r"betas \(([^,]+), ([^)]+)\)", described), re.search(r"eps (\S+)", described)
    values: dict[str, Any] = {"betas": (float(betas[1]), float(betas[2]))} if betas else {}
    return values | ({"eps": float(eps[1])} if eps else {})


def _training(method: VL4AD, batch: Batch, settings: Mapping[str, Any], draws: Sequence[Tensor]) -> Tensors:
    terms: Tensors = {}
    pairs: list[list[tuple[Tensor, Tensor]]] = []
    hooks = [
        method.criterion.register_forward_hook(lambda _module, _given, values: terms.update(values)),
        method.criterion.criterion.matcher.register_forward_hook(lambda _module, _given, values: pairs.append(values)),
    ]
    with _Replaying(draws):
        total = torch.stack(list(method.loss(method.encode(batch), batch).values())).sum()
    for hook in hooks:
        hook.remove()
    total.backward()
    named = method.learnable_parameters()
    optimizer = torch.optim.AdamW(
        [
            {"params": [named[name] for name in group.names], "weight_decay": decay}
            for group, decay in zip(
                method.parameter_groups(),
                (settings["weight_decay"], settings["weight_decay_norm_and_embedding"]),
                strict=True,
            )
        ],
        lr=settings["lr"],
        **_adam_constants(str(settings.get("optimizer", ""))),
    )
    norm = nn.utils.clip_grad_norm_(named.values(), settings["grad_clip_norm"])
    gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in named.items()}
    optimizer.step()
    values = {"total_loss": total, "grad_norm_before_clip": norm}
    values |= {f"weighted_{key.replace('cross_entropy', 'ce')}": value for key, value in terms.items()}
    values |= {f"clipped_grad/{name}": value for name, value in to_official(gradients).items()}
    values |= {f"after_step/{name}": value for name, value in method.learnable_state().items()}
    for number, images in enumerate(pairs):
        for image, (query, target) in enumerate(images):
            values |= {f"match_{number}_image{image}_query": query, f"match_{number}_image{image}_target": target}
    return {f"train/{key}": value for key, value in values.items()}
