"""PromptAD's parity cases: the ordinary method, its intermediates under the fixtures' names."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from adbench.clip.model import OPENAI_MEAN, OPENAI_STD
from adbench.data.sample import Batch
from adbench.methods.maps import resize_bilinear
from adbench.methods.promptad.fitting import Job, Step, fit, logits, total
from adbench.methods.promptad.method import PromptAd
from adbench.methods.promptad.prompts import TextFeatures, encode_prompts, prompt_embeddings
from adbench.methods.promptad.scores import fuse
from adbench.methods.promptad.transform import (
    FIRST_SIZE,
    PromptAdTransform,
    exchange_red_and_blue,
    resize_bilinear_8bit,
)
from adbench.methods.registry import build
from adbench.metrics import ImageMetrics, PixelMetrics
from adbench.parity.from_case import case_clip, given, part

Arrays = Mapping[str, np.ndarray]
Tensors = dict[str, Tensor]
# Positions of a prompt that the fixtures record, and the part of the first resize.
_POSITIONS = 24
_CROP = (slice(400, 448), slice(500, 548))
_STEP = re.compile(r"input/step(\d+)_support_index")


def run_case(case: Mapping[str, Any], tensors: Arrays) -> dict[str, np.ndarray]:
    """Compute a case: which kind it is shows in its inputs."""
    if case["backbone"] is None:
        return _arrays(_preprocess(case, tensors))
    method = _method(case, tensors)
    if "input/support_images" in tensors:
        return _arrays(_train(method, case, tensors))
    with torch.no_grad():
        if "input/images" not in tensors:
            return _arrays(_prompts(method, case))
        return _arrays(_infer(method, case, tensors))


def _arrays(values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {f"expected/{key}": value.detach().cpu().numpy() for key, value in values.items()}


def _method(case: Mapping[str, Any], tensors: Arrays) -> PromptAd:
    """The case's method; its tensors come in the channel order of the loop that they belong to."""
    settings = case["hyperparameters"]
    known = {key: settings[key] for key in PromptAd.hyperparameter_defaults() if key in settings}
    known |= {"task": settings.get("task", "cls"), "suffixes": "own", "test_channel_order": "rgb"}
    method = build("promptad", case_clip(case, tensors), **known)
    assert isinstance(method, PromptAd)
    state = part(tensors, "method")
    if state:
        with tempfile.TemporaryDirectory() as folder:
            name = f"{known['task'].upper()}-Seed_111-{case['class_names'][0]}-check_point.pt"
            torch.save(state, Path(folder) / name)
            method.load_official(Path(folder) / name)
    return method.to(method.clip.device)


def _preprocess(case: Mapping[str, Any], tensors: Arrays) -> Tensors:
    settings = case["hyperparameters"]
    side = settings.get("img_cropsize", case["image_size"])
    transform = PromptAdTransform(
        side, settings.get("img_resize", side), settings.get("resolution", 400), OPENAI_MEAN, OPENAI_STD
    )
    values: Tensors = {}
    for key, value in tensors.items():
        if not key.startswith("input/raw_bgr_"):
            continue
        number = key.rpartition("_")[2]
        bgr = value.astype(np.uint8)
        image = transform.image(Image.fromarray(np.ascontiguousarray(bgr[..., ::-1])))
        mask = tensors.get(f"input/raw_mask_{number}", np.zeros(bgr.shape[:2])).astype(np.uint8)
        values |= {
            f"resized1024_bgr_crop_{number}": torch.from_numpy(
                resize_bilinear_8bit(bgr, FIRST_SIZE)[_CROP].astype(np.int64)
            ),
            f"tensor_train_rgb_{number}": image,
            f"tensor_test_bgr_{number}": exchange_red_and_blue(image, OPENAI_MEAN, OPENAI_STD),
            f"mask_eval_{number}": transform.mask(Image.fromarray(mask)).long(),
        }
    return values


def _job(method: PromptAd, case: Mapping[str, Any], features: Mapping[str, Tensor], **options: Any) -> Job:
    return method.job(case["class_names"][0], "parity", method.tasks[0], features, **options)


def _prompts(method: PromptAd, case: Mapping[str, Any]) -> Tensors:
    nothing = torch.zeros(1, method.clip.embed_dim, device=method.clip.device)
    job = _job(method, case, {"global": nothing})
    (text,) = encode_prompts(method.clip, [(job.prompts, job.contexts)])
    embeddings = prompt_embeddings(method.clip, job.prompts, job.contexts)[:, :_POSITIONS]
    counts = list(job.prompts.counts)
    values = _raw(text, "text_features_{}_unnormalised")
    for kind, ids, tokens in zip(
        ("normal", "manual", "learned"), job.prompts.ids.split(counts), embeddings.split(counts), strict=True
    ):
        values |= {f"tokens_{kind}": ids, f"embeddings_{kind}": tokens}
    values["text_features_all_normalised"] = F.normalize(torch.cat([text.normal, text.manual, text.learned]), dim=-1)
    values["prototypes"] = text.prototypes(method.settings.prototype)
    return values


def _raw(text: TextFeatures, name: str) -> Tensors:
    return {name.format(kind): getattr(text, kind).detach() for kind in ("normal", "manual", "learned")}


def _train(method: PromptAd, case: Mapping[str, Any], tensors: Arrays) -> Tensors:
    features = method.vv_clip.support_features(given(tensors["input/support_images"]))
    steps = sorted(int(match[1]) for match in map(_STEP.fullmatch, tensors) if match)
    order = [given(tensors[f"input/step{step}_support_index"]) for step in steps]
    job = _job(method, case, features, order=order)
    values: Tensors = {
        f"feature_gallery{i}": gallery.clone() for i, gallery in enumerate(method.vv_clip.galleries(features), start=1)
    }
    made = fit(method.clip, [job], method.settings, method.scale, steps_per_epoch=len(steps) // method.settings.epochs)
    for number, step in enumerate(made):
        if number == 0:
            values |= _first_step(method, job, step)
        values |= {f"step{number}_{key}": value.clone() for key, value in _step(method, job, step).items()}
    return values | {f"epoch{i}_text_features": value for i, value in enumerate(job.prototypes)}


def _first_step(method: PromptAd, job: Job, step: Step) -> Tensors:
    (text,) = step.text
    visual = job.visual[job.order[0]]
    prototypes = text.prototypes(method.settings.prototype).detach()
    return {
        "step0_visual": visual,
        "step0_logits": logits(visual, text, method.settings.prototype, method.scale).detach(),
        "step0_normal_prototype": prototypes[:1],
        "step0_abnormal_prototype": prototypes[1:],
        **_raw(text, "step0_text_{}_unnormalised"),
    }


def _step(method: PromptAd, job: Job, step: Step) -> Tensors:
    (terms,) = step.terms
    values = {
        "lr": torch.tensor([step.lr]),
        "loss_contrastive": terms["contrastive"].reshape(1),
        "loss_margin": terms["margin"].reshape(1),
        "loss_align_unweighted": terms["alignment"].reshape(1),
        "loss_total": total(terms, method.settings).reshape(1),
    }
    for kind, tensor in (("normal", job.contexts.normal), ("abnormal", job.contexts.abnormal)):
        assert tensor.grad is not None
        values[f"grad_{kind}_ctx"] = tensor.grad
        values[f"{kind}_ctx_after"] = tensor.detach()
        buffer = step.optimizer.state[tensor].get("momentum_buffer")
        if buffer is not None:
            values[f"momentum_buffer_{kind}"] = buffer
    return values


def _blocks(method: PromptAd, images: Tensor) -> Tensors:
    """Both streams of each block, all tokens."""
    every = range(1, method.clip.n_layers + 1)
    streams = method.clip.image_blocks(
        method.clip.embed_image(images), local_from=method.vv_clip.local_from, collect=every, collect_local=every
    )
    values = {}
    for i in every:
        values[f"block_{i - 1:02d}_original_path_output"] = streams.blocks[i]
        values[f"block_{i - 1:02d}_vv_path_output"] = streams.local_blocks[i]
    return values


def _infer(method: PromptAd, case: Mapping[str, Any], tensors: Arrays) -> Tensors:
    images = given(tensors["input/images"])
    labels = given(tensors.get("input/labels", np.zeros(len(images), dtype=np.int64)))
    name = case["class_names"][0]
    batch = Batch(images, labels, [name] * len(images), list(map(str, range(len(images)))), "parity")
    features = method.encode(batch)
    values = dict(features)
    if name not in method.memory_bank:
        raw = {f"{key}_unnormalised": value for key, value in method.vv_clip.raw(images).items()}
        return values | raw | _blocks(method, images)
    prediction = method.score(features, batch)
    visual = method.visual_grid(features, name)
    values["visual_grid"] = visual
    if method.tasks == ["cls"]:
        upsampled = resize_bilinear(visual, method.map_size, align_corners=False)
        assert prediction.scores is not None
        auroc = ImageMetrics().update(prediction.scores.cpu().numpy(), labels.cpu().numpy()).compute()["image_auroc"]
        return values | {
            "visual_upsampled": upsampled,
            "visual_map_max": upsampled.flatten(1).amax(dim=1),
            "text_score": method.text_score(features, name),
            "image_score": prediction.scores,
            "image_auroc_percent": torch.tensor([100 * auroc]),
        }
    text = method.text_grid(features, name)
    fused = fuse(text, visual)
    assert isinstance(prediction.maps, Tensor)
    pixel = PixelMetrics().update(prediction.maps.cpu().numpy(), tensors["input/masks"] > 0).compute()
    return values | {
        "text_grid": text,
        "fused_grid": fused,
        "fused_upsampled": resize_bilinear(fused, method.map_size, align_corners=False),
        "map": prediction.maps,
        "pixel_auroc_percent": torch.tensor([100 * pixel["pixel_auroc"]]),
    }
