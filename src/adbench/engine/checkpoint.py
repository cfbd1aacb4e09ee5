"""Where a training stands, in one file: learned tensors, optimiser, random streams, position. Nothing is pickled.

method/<name>                   learnable_state
optimizer/<parameter>/<key>     tensors of the optimiser's state
streams/<name>                  random streams
best/<name>                     learnable_state of the best validation so far
record (JSON)                   position, averages, best value so far, the training's record, remaining scalars
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench.engine.optim import parameter_names
from adbench.engine.rng import capture_streams, restore_streams
from adbench.engine.tensor_file import read_tensors, write_tensors
from adbench.errors import UserError
from adbench.methods.base import Method

VERSION = 2


@dataclass(kw_only=True, slots=True)
class Averages:
    """Running means over images of the loss terms; a term counts the images of those steps that had it."""

    sums: dict[str, float] = field(default_factory=dict)
    n_images: dict[str, int] = field(default_factory=dict)

    def add(self, values: dict[str, float], n_images: int) -> None:
        """Take in the mean values of a step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * n_images
            self.n_images[name] = self.n_images.get(name, 0) + n_images

    def means(self) -> dict[str, float]:
        """The means so far."""
        return {name: total / self.n_images[name] for name, total in self.sums.items()}

    def take(self) -> dict[str, float]:
        """The means so far; starts anew."""
        means = self.means()
        self.sums, self.n_images = {}, {}
        return means


@dataclass(kw_only=True, slots=True)
class TrainState:
    """How far a training has come.

    epoch, batch   epochs done of the stage; batches done of the next one
    step           optimiser steps in all
    stage          stages done
    stage_epoch, stage_step   epochs and steps done, in all, when the stage began
    window, whole  averages since the last point of the loss curve; since the start of the epoch
    best           {"value", "epoch", "step"} of the best validation so far, and its learned tensors
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    stage: int = 0
    stage_epoch: int = 0
    stage_step: int = 0
    window: Averages = field(default_factory=Averages)
    whole: Averages = field(default_factory=Averages)
    best: dict[str, Any] | None = None
    best_state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Epochs done in all."""
        return self.stage_epoch + self.epoch

    def begin(self, stage: int) -> None:
        """Move on to the beginning of a stage."""
        self.stage_epoch, self.stage_step = self.epochs, self.step
        self.stage, self.epoch, self.batch = stage, 0, 0
        self.window, self.whole = Averages(), Averages()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was captured or read."""

    tensors: dict[str, Tensor]
    record: dict[str, Any]

    @property
    def training(self) -> dict[str, Any]:
        """Which training this is a checkpoint of."""
        return dict(self.record["training"])

    def write(self, path: Path) -> None:
        """Write it to one file, whole or not at all."""
        write_tensors(path, self.tensors, self.record)

    def restore_method(self, method: Method) -> None:
        """Put the learned tensors back."""
        method.load_learnable_state(self._below("method/"))

    @property
    def position(self) -> TrainState:
        """How far the training had come."""
        position = dict(self.record["position"])
        averages = {name: Averages(**position.pop(name)) for name in ("window", "whole")}
        return TrainState(**position | averages | {"best_state": self._below("best/")})

    def restore_rest(self, method: Method, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
        """Put optimiser, gradient scaler and random streams back; the method is at the stage of the position."""
        state: dict[int, dict[str, Any]] = {}
        for index, name in enumerate(parameter_names(method)):
            values: dict[str, Any] = dict(self._below(f"optimizer/{name}/"))
            start = f"{name}/"
            values |= {key[len(start) :]: v for key, v in self.record["optimizer"].items() if key.startswith(start)}
            if values:
                state[index] = values
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        if self.record["scaler"]:
            scaler.load_state_dict(self.record["scaler"])
        restore_streams((self._below("streams/"), self.record["streams"]), method)

    def _below(self, prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def capture(
    method: Method,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    position: TrainState,
    training: dict[str, Any],
) -> Checkpoint:
    """Copy everything that the next step depends on. `training` says which training this is."""
    tensors = {f"method/{name}": tensor for name, tensor in method.learnable_state().items()}
    scalars: dict[str, Any] = {}
    state = optimizer.state_dict()["state"]
    for index, name in enumerate(parameter_names(method)):
        for key, value in state.get(index, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{name}/{key}"] = value
            else:
                scalars[f"{name}/{key}"] = value
    stream_tensors, stream_values = capture_streams(method)
    tensors |= {f"streams/{name}": tensor for name, tensor in stream_tensors.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in position.best_state.items()}
    record = {
        "version": VERSION,
        "training": training,
        "position": asdict(replace(position, best_state={})),
        "optimizer": scalars,
        "scaler": scaler.state_dict(),
        "streams": stream_values,
    }
    copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
    return Checkpoint(copied, copy.deepcopy(record))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises UserError for a damaged file or one of another version."""
    hint = "train anew with resume=false, or in another folder"
    try:
        tensors, record = read_tensors(path, sealed=True)
    except UserError as error:
        raise UserError(error.what, where=error.where, hint=hint) from error
    if record is None or record.get("version") != VERSION:
        raise UserError("this is not a checkpoint that this version can go on from", where=str(path), hint=hint)
    return Checkpoint(tensors, record)
