"""Every random stream that a run may draw from: seeded, captured and put back as plain tensors and numbers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.methods.base import Method

Streams = tuple[dict[str, Tensor], dict[str, Any]]
"""The state of all streams: long parts as tensors, the rest as JSON-able values."""


def seed_streams(seed: int, method: Method) -> None:
    """Seed torch (all devices), numpy, python and the method's own stream."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    stream = _own_stream(method)
    if stream is not None:
        stream.seed(seed % 2**32)


def capture_streams(method: Method) -> Streams:
    """The state of all streams as it is now."""
    tensors = {"torch": torch.get_rng_state()}
    values: dict[str, Any] = {}
    if torch.cuda.is_available():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"cuda.{index}"] = state
    version, words, gauss = random.getstate()
    tensors["python"] = torch.tensor(words, dtype=torch.int64)
    values["python"] = {"version": version, "gauss": gauss}
    streams = {"numpy": np.random.get_state(legacy=False)}
    stream = _own_stream(method)
    if stream is not None:
        streams["method"] = stream.get_state(legacy=False)
    for name, numpy_state in streams.items():
        assert isinstance(numpy_state, dict)
        tensors[name] = torch.from_numpy(numpy_state["state"]["key"].astype(np.int64))
        values[name] = {
            "pos": int(numpy_state["state"]["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        }
    return tensors, values


def restore_streams(streams: Streams, method: Method) -> None:
    """Put all streams back to a captured state; devices and streams that were not captured are left alone."""
    tensors, values = streams
    torch.set_rng_state(tensors["torch"])
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if f"cuda.{index}" in tensors:
                torch.cuda.set_rng_state(tensors[f"cuda.{index}"], index)
    python = values["python"]
    random.setstate((python["version"], tuple(tensors["python"].tolist()), python["gauss"]))
    np.random.set_state(_numpy_state(tensors["numpy"], values["numpy"]))
    stream = _own_stream(method)
    if stream is not None and "method" in tensors:
        stream.set_state(_numpy_state(tensors["method"], values["method"]))


@contextlib.contextmanager
def undisturbed(method: Method) -> Iterator[None]:
    """Whatever is drawn inside leaves the streams outside as they were."""
    streams = capture_streams(method)
    try:
        yield
    finally:
        restore_streams(streams, method)


def draws_in_order(method: Method) -> bool:
    """Whether the method has a stream of its own that goes on from image to image."""
    return _own_stream(method) is not None


def _own_stream(method: Method) -> np.random.RandomState | None:
    stream = getattr(method, "random_state", None)
    return stream if isinstance(stream, np.random.RandomState) else None


def _numpy_state(words: Tensor, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "bit_generator": "MT19937",
        "state": {"key": words.numpy().astype(np.uint32), "pos": values["pos"]},
        "has_gauss": values["has_gauss"],
        "gauss": values["gauss"],
    }
