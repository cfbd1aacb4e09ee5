"""MuSc's parity cases: the ordinary method on a whole set, its intermediates under the fixtures' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.methods.musc.division import divide
from adbench.methods.musc.method import Images, MuSc
from adbench.metrics import ImageMetrics, PixelMetrics, aupro200
from adbench.parity.from_case import case_batches, case_method, recorded

_METRICS = {"auroc": "auroc", "max_f1": "f1max", "ap": "ap"}
_SHOWN = 2
"""Images whose larger intermediates are recorded."""


def run_case(case: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute a case: encoded in its batches, related as one set in the subsets that it gives."""
    settings = case["hyperparameters"]
    known = MuSc.hyperparameter_defaults()
    method = case_method(case, tensors, {key: value for key, value in settings.items() if key in known})
    assert isinstance(method, MuSc)
    batches = case_batches(case, tensors, case.get("batch_size"))
    subset_of = tensors["input/subset"]
    subsets = [np.flatnonzero(subset_of == number).tolist() for number in np.unique(subset_of)]
    with torch.no_grad():
        encoded = [(method.encode(batch), tuple(batch.paths)) for batch in batches]
        (class_name,) = dict.fromkeys(case["class_names"])
        method.relate_subsets(class_name, encoded, subsets)
        ours = _levels(method, Images(encoded), subsets) | _predictions(method, encoded, batches)
        ours |= {"block_tokens_" + name: values for name, values in _block_tokens(method, batches).items()}
    return recorded(ours | _division(tensors, settings))


def _block_tokens(method: MuSc, batches: list[Batch]) -> dict[str, Tensor]:
    images = torch.cat([batch.images for batch in batches])[:_SHOWN]
    streams = method.clip.image_blocks(method.clip.embed_image(images), collect=method.layers)
    return {f"layer{layer:02d}": streams.blocks[layer] for layer in method.layers}


def _levels(method: MuSc, images: Images, subsets: list[list[int]]) -> dict[str, Tensor]:
    n_images, n_patches = len(images.paths), method.clip.grid**2
    values: dict[str, Tensor] = {"resized_positional_embedding": method.clip.positions((method.clip.grid,) * 2)}
    for subset in subsets:
        for r, layer, scores in method.mutual_scores(images.only(subset)):
            level = f"r{r}_layer{layer:02d}"
            values.setdefault(f"mutual_score_{level}", scores.new_empty(n_images, n_patches))[subset] = scores
            values[f"aggregated_{level}"] = method.aggregated(images, r, layer, range(_SHOWN))
    (first,) = (subset for subset in subsets if 0 in subset)
    with method.nearest_distances(images.only(first), method.settings.r_list[0], method.layers[0]) as distances:
        values["nearest_distance_image0"] = distances[0, 1:].T.clone()  # image 0 is the first of its subset
    return values


def _predictions(method: MuSc, encoded: list[Any], batches: list[Batch]) -> dict[str, Tensor]:
    predictions = [method.score(features, batch) for (features, _), batch in zip(encoded, batches, strict=True)]
    scores = torch.cat([prediction.scores for prediction in predictions if prediction.scores is not None])
    maps = torch.cat([prediction.maps for prediction in predictions if isinstance(prediction.maps, Tensor)])
    related = method.memory_bank[batches[0].class_names[0]]
    features = torch.cat([features["image"] for features, _ in encoded])
    labels = torch.cat([batch.labels for batch in batches])
    masks = torch.cat([batch.masks for batch in batches if batch.masks is not None])
    image = ImageMetrics().update(scores.cpu().numpy(), labels.cpu().numpy()).compute()
    shown, drawn = maps.cpu().numpy(), masks.cpu().numpy()
    pixel = PixelMetrics().update(shown, drawn).compute()
    values = {
        **{f"image_{name}": image[f"image_{key}"] for name, key in _METRICS.items()},
        **{f"pixel_{name}": pixel[f"pixel_{key}"] for name, key in _METRICS.items()},
        "pixel_aupro": aupro200(shown, drawn, grid="numpy2"),
    }
    return {
        "image_features_norm": features,
        "patch_scores": related.patch_scores,
        "anomaly_map": maps,
        "image_score": scores,
        "max_score": method.maps(related.patch_scores).flatten(1).amax(dim=1),
        "similarity": features @ features.T,
        **{f"metric_{name}": torch.tensor([value], dtype=torch.float64) for name, value in values.items()},
    }


def _division(tensors: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """The cut that we would make, and the order in which the authors' code then has the images."""
    subsets = divide(tensors["input/division_group"].tolist(), settings["divide_num"], settings["divide_seed"])
    subset_of = torch.empty(len(tensors["input/division_group"]), dtype=torch.int64)
    for number, subset in enumerate(subsets):
        subset_of[subset] = number
    return {"subset": subset_of, "upstream_order": torch.tensor([number for subset in subsets for number in subset])}
