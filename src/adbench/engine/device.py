"""Which device a run uses, in which precision, and how batches get there and predictions back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.data.transforms import PixelTransform, Transform
from adbench.errors import UserError, unknown
from adbench.methods.base import Prediction

_AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str = "auto") -> torch.device:
    """`auto` (CUDA where present), `cpu`, `cuda` or `cuda:N`. Raises UserError for a device that is not there.

    On CUDA convolutions and products of matrices are computed in float32 from then on. Torch rounds the inputs of
    convolutions, with which a ViT begins, to 10 bits (TF32) unless told otherwise; in NVIDIA's containers those of
    products too. A GPU of a number becomes torch's current one: else pinned memory takes half a GB of the first one.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise unknown("device", name, ("auto", "cpu", "cuda"), where="device")
    if kind == "cuda" and (not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise UserError(
            f"device {name} was asked for, but PyTorch sees {count or 'no'} CUDA device{'s' * (count != 1)}",
            where="device",
            hint="use device=auto or device=cpu, or install a CUDA build of PyTorch and check nvidia-smi",
        )
    if kind == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        if number:
            torch.cuda.set_device(int(number))
    return torch.device(name)


def check_amp(amp: str, device: torch.device) -> None:
    """Raise UserError where `device` does not offer autocast mode `amp`."""
    if amp == "fp16" and device.type != "cuda":
        raise UserError("amp=fp16 needs a CUDA device", where="trainer.amp", hint="use amp=off (or amp=bf16)")
    if amp == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError("this CUDA device has no bf16", where="trainer.amp", hint="use amp=fp16 or amp=off")


def check_held(dtype: str, amp: str, *, learns: bool) -> None:
    """Raise UserError where autocast mode `amp`, or learning, does not go with the precision the backbone is held in.

    dtype  as the backbone describes itself, "float32" for one that does not say
    """
    if dtype == "float32":
        return
    if amp != "off" and dtype != str(_AMP_TYPES[amp]).rpartition(".")[2]:
        what = f"amp={amp} would compute in another precision than clip.dtype={dtype}"
        raise UserError(what, where="clip.dtype", hint="choose one of the two, or amp=off")
    if learns and dtype == "float16" and amp != "fp16":
        what = "gradients through a backbone held in float16 vanish unless the loss is scaled"
        raise UserError(what, where="clip.dtype", hint="use clip.dtype=bfloat16 or float32")


def autocast(amp: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The precision context of a step: nothing for "off"."""
    if amp == "off":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_AMP_TYPES[amp])


def on_device(batch: Batch, transform: Transform, device: torch.device) -> Batch:
    """The batch on `device`, its images normalised there where they came as pixels."""
    batch = batch.to(device)
    if batch.images.dtype == torch.uint8 and isinstance(transform, PixelTransform):
        return replace(batch, images=transform.normalised(batch.images))
    return batch


def sent(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on `device`; the host goes on while a GPU fetches it from pinned memory."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


def to_host(prediction: Prediction, batch: Batch) -> Callable[[], tuple[Prediction, Batch]]:
    """Begin to copy a prediction and the annotations of its batch from a GPU; the images stay there.

    The call that is returned waits for the copies and hands them out. It waits for nothing that the GPU was given to do
    later, as a copy begun then would.
    """
    device = batch.images.device
    if device.type != "cuda":
        return lambda: (prediction, batch)
    copied = partial(Tensor.to, device="cpu", non_blocking=True)  # into pinned memory
    scores, maps = prediction.scores, prediction.maps
    on_host = Prediction(
        None if scores is None else copied(scores),
        copied(maps) if isinstance(maps, Tensor) else maps and [copied(map_) for map_ in maps],
    )
    annotations: dict[str, Any] = {name: copied(values) for name, values in batch.annotations.items()}
    annotated = replace(batch, labels=copied(batch.labels), **annotations)
    arrived = torch.cuda.Event(blocking=True)  # who waits sleeps: the cores are the loaders'
    arrived.record(torch.cuda.current_stream(device))

    def waited() -> tuple[Prediction, Batch]:
        arrived.synchronize()
        return on_host, annotated

    return waited
