"""What the parity cases of all CLIP methods share: backbone and method as a case describes them.

Each method's module in `adbench.parity.methods` has `run_case(case, tensors)`: it returns our tensors under the
fixture's `expected.../` keys and is given the case without the recorded ones.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.clip import Clip
from adbench.clip.loading import clip_from_state
from adbench.data.sample import Batch
from adbench.engine.optim import build_optimizer, take_step
from adbench.engine.settings import OptimizerSpec
from adbench.methods.base import Method
from adbench.methods.registry import build, method_class
from adbench.metrics import ImageMetrics, PixelMetrics, aupro200

Arrays = Mapping[str, np.ndarray]
_device: ContextVar[torch.device] = ContextVar("device")


@contextlib.contextmanager
def computed_on(device: torch.device) -> Iterator[None]:
    """Inside, backbones, methods and inputs of cases are put on `device`."""
    token = _device.set(device)
    try:
        yield
    finally:
        _device.reset(token)


def case_device() -> torch.device:
    """Where cases are computed: on the CPU unless somebody says otherwise."""
    return _device.get(torch.device("cpu"))


def given(array: np.ndarray) -> Tensor:
    """An input of a case where it is computed."""
    return torch.from_numpy(np.array(array)).to(case_device())


def part(tensors: Arrays, prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix/`, by the rest of their names."""
    below = {key: value for key, value in tensors.items() if key.startswith(f"{prefix}/")}
    return {key.removeprefix(f"{prefix}/"): torch.from_numpy(np.array(value)) for key, value in below.items()}


def case_clip(case: Mapping[str, Any], tensors: Arrays) -> Clip:
    """The CLIP that a case describes, with the case's weights."""
    config = dict(case["backbone"])
    return clip_from_state(
        config,
        part(tensors, "backbone"),
        name=f"{case['method']} case",
        source=str(case.get("case", "parity")),
        quick_gelu=bool(config.pop("quick_gelu", False)),
        image_size=case["image_size"],
    ).to(case_device())


def case_method(
    case: Mapping[str, Any],
    tensors: Arrays,
    hyperparameters: Mapping[str, Any],
    *,
    wrap: Callable[[dict[str, Tensor]], object] = lambda state: state,
) -> Method:
    """The case's method from the registry, its weights loaded from a file in the authors' format.

    wrap  puts the state dict into the structure that the authors save
    """
    method = build(case["method"], case_clip(case, tensors), **hyperparameters)
    state = part(tensors, "method")
    if state:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "official.pth"
            torch.save(wrap(state), file)
            method.load_official(file)
    return method.to(method.clip.device)


def case_batches(case: Mapping[str, Any], tensors: Arrays, size: int | None = None) -> list[Batch]:
    """The case's images in order, `size` per batch (default: all in one); masks are 0/1 at image size."""
    images = given(tensors["input/images"])
    n, size = len(images), size or len(images)
    labels = given(tensors.get("input/labels", np.zeros(n, np.int64)))
    masks = given(tensors["input/masks"][:, 0]) > 0.5 if "input/masks" in tensors else None
    return [
        Batch(
            images=images[start : start + size],
            labels=labels[start : start + size],
            class_names=list(case["class_names"][start : start + size]),
            paths=[str(index) for index in range(start, min(start + size, n))],
            dataset="parity",
            masks=None if masks is None else masks[start : start + size],
        )
        for start in range(0, n, size)
    ]


def zero_shot_case(
    case: Mapping[str, Any],
    tensors: Arrays,
    infer: Callable[[Any, Batch], dict[str, Tensor]],
    forward: Callable[[Any, Batch], tuple[dict[str, Tensor], dict[str, Tensor]]],
) -> dict[str, Tensor]:
    """A case of kind infer (all images as one batch) or train, of a method whose authors save {"prompt_learner": ...}.

    infer, forward  compute with the method and a batch; forward as in `adam_steps`
    """
    settings = case["hyperparameters"]
    known = method_class(case["method"]).hyperparameter_defaults()
    given = {key: value for key, value in settings.items() if key in known}
    method = case_method(case, tensors, given, wrap=lambda state: {"prompt_learner": state})
    if case["kind"] == "infer":
        (batch,) = case_batches(case, tensors)
        with torch.no_grad():
            return infer(method, batch)
    batches = case_batches(case, tensors, case["batch_size"])[: settings["steps"]]
    return adam_steps(method, batches, settings, lambda batch: forward(method, batch))


def recorded(values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors as arrays under the fixtures' `expected/` keys."""
    return {f"expected/{key}": value.detach().cpu().numpy() for key, value in values.items()}


def adam_steps(
    method: Method,
    batches: Sequence[Batch],
    settings: Mapping[str, Any],
    forward: Callable[[Batch], tuple[dict[str, Tensor], dict[str, Tensor]]],
) -> dict[str, Tensor]:
    """One Adam step of the ordinary optimiser per batch, recorded as cases of kind `train` have it.

    settings  with `milestones` and `gamma` where the rate falls on the way
    forward   returns the losses to be recorded per step, `loss_total` among them, and intermediates (of step 1)
    """
    spec = OptimizerSpec(
        name="adam",
        lr=settings["learning_rate"],
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
        schedule="steps",
        milestones=settings.get("milestones", ()),
        gamma=settings.get("gamma", 1.0),
    )
    optimizer, scaler = build_optimizer(method, spec), torch.amp.GradScaler("cpu", enabled=False)
    values: dict[str, Tensor] = {}
    losses = []
    for step, batch in enumerate(batches):
        terms, intermediates = forward(batch)
        take_step(optimizer, scaler, terms["loss_total"], spec, step=step, n_steps=len(batches))
        if step == 0:
            values |= {key: value.detach() for key, value in intermediates.items()} | gradients(method)
        losses.append({key: value.detach() for key, value in terms.items()})
        values |= {f"weights_after_{step + 1}/{key}": value.clone() for key, value in method.learnable_state().items()}
    return values | {key: torch.stack([of_step[key] for of_step in losses]) for key in losses[0]}


def gradients(method: Method) -> dict[str, Tensor]:
    """The gradients of the last step as the optimiser has seen them."""
    named = method.learnable_parameters().items()
    return {f"grad/{name}": parameter.grad.clone() for name, parameter in named if parameter.grad is not None}


def class_metrics(case: Mapping[str, Any], batch: Batch, scores: Tensor, maps: Tensor) -> dict[str, Tensor]:
    """The metrics of the methods' own tables per class, in the case's class order; AUPRO from 200 thresholds."""
    names = np.array(batch.class_names)
    lists: dict[str, list[float]] = {}
    for name in case["class_order"]:
        pick = names == name
        image = ImageMetrics().update(scores.cpu().numpy()[pick], batch.labels.cpu().numpy()[pick]).compute()
        assert batch.masks is not None
        ours, masks = maps.cpu().numpy()[pick], batch.masks.cpu().numpy()[pick]
        pixel = PixelMetrics().update(ours, masks).compute()
        for key, value in {
            "metric_image_auroc": image["image_auroc"],
            "metric_image_ap": image["image_ap"],
            "metric_pixel_auroc": pixel["pixel_auroc"],
            "metric_pixel_ap": pixel["pixel_ap"],
            "metric_pixel_aupro": aupro200(ours, masks, grid="numpy2"),
        }.items():
            lists.setdefault(key, []).append(value)
    return {key: torch.tensor(values, dtype=torch.float64) for key, values in lists.items()}
